// Before anything is changed: what, why, for how long, and by whom. The token is kept in memory,
// and nowhere else, until it turns out wrong or the page is left.

const at = (id) => document.getElementById(id);

const ORDERS = {
  "force-open": {
    title: (name) => `Force ${name} open?`,
    about: "Every call to it is answered with CIRCUIT_OPEN, or goes to a fallback. When the time is over, or somebody releases it, it is probed.",
    yes: "Force open",
    lasts: true,
  },
  release: {
    title: (name) => `Release ${name}?`,
    about: "What was forced is taken back. An open circuit is probed by the next call.",
    yes: "Release",
  },
  reset: {
    title: (name) => `Reset ${name}?`,
    about: "The circuit is closed and forgets what it has counted. Calls go through at once.",
    yes: "Reset",
  },
  "mode observe": {
    title: (name) => `Only observe ${name}?`,
    about: "The breaker goes on deciding, counting and logging, but rejects nothing.",
    yes: "Observe",
    lasts: true,
  },
  "mode enforce": {
    title: (name) => `Enforce the breaker of ${name}?`,
    about: "While the circuit is open, calls are rejected.",
    yes: "Enforce",
    lasts: true,
  },
};

let token = "";

export function asking(needsToken, done) {
  const dialog = at("ask");
  let order = null;

  at("ask-no").addEventListener("click", () => dialog.close());
  at("ask-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    at("ask-yes").disabled = true;
    try {
      const wrong = await send(order);
      at("ask-wrong").textContent = wrong;
      if (!wrong) {
        dialog.close();
        done(order.name, order.words.yes);
      }
    } finally {
      at("ask-yes").disabled = false;
      at("ask-secret").hidden = !needsToken() || token !== "";
    }
  });

  return (name, action, mode) => {
    const words = ORDERS[mode ? `${action} ${mode}` : action];
    order = { name, action, mode, words };
    at("ask-title").textContent = words.title(name);
    at("ask-about").textContent = words.about;
    at("ask-yes").textContent = words.yes;
    at("ask-lasting").hidden = !words.lasts;
    at("ask-secret").hidden = !needsToken() || token !== "";
    at("ask-reason").value = at("ask-token").value = at("ask-wrong").textContent = "";
    dialog.showModal();
  };
}

// Gives what is wrong, or "".
async function send({ name, action, mode, words }) {
  const reason = at("ask-reason").value.trim();
  if (!reason) {
    at("ask-reason").focus();
    return "Say why: it goes into the log and the time line.";
  }
  token ||= at("ask-token").value;
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = { reason };
  if (mode) body.mode = mode;
  if (words.lasts && at("ask-ttl").value) body.ttl = at("ask-ttl").value;
  let answer;
  try {
    const url = `api/v1/breakers/${name}/${action}`;
    answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    return "The proxy cannot be reached.";
  }
  if (answer.ok) return "";
  if (answer.status === 401) token = at("ask-token").value = "";
  const problem = await answer.json().catch(() => ({ message: `answered ${answer.status}` }));
  const each = problem.details?.errors?.map((one) => `${one.field} ${one.message}`);
  return each?.join("; ") ?? problem.message;
}
