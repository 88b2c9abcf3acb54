// What is shown of one upstream or pool. It is built once and then only changed.

import { FLOOR, chart, mirrored, steps } from "./chart.js";
import { h, mark, say, shape } from "./dom.js";
import { REASONS, STATES, clock, count, rate, seconds, share, span } from "./words.js";

const FAILURES_SHOWN = 3;

export function card(name, isPool, ask) {
  const heading = h("h2", { id: `of-${name}` }, name);
  const what = h("p", { class: "what" });
  const buttons = h("div", { class: "buttons", role: "group", "aria-label": `Steer ${name}` });
  const state = h("div", { class: "state" });
  const facts = h("dl", { class: "facts" });
  const charts = h("div", { class: "charts" });
  const node = h(
    "article",
    { class: "card", "aria-labelledby": `of-${name}` },
    h("div", { class: "head" }, h("div", {}, heading, what), buttons),
    h("div", { class: "body" }, h("div", { class: "now" }, state, facts), charts),
  );
  const shown = isPool ? null : stateOf(state);
  const steer = isPool ? null : steering(buttons, name, ask);
  const told = factsOf(facts, isPool);
  const draw = chartsOf(charts, isPool);
  return {
    node,
    update(data, now, control) {
      say(what, isPool ? `pool of ${data.members.join(", ")}` : `${data.kind} · ${data.provider} · ${data.url}`);
      if (shown) {
        mark(node, "data-state", data.breaker.state);
        shown(data.breaker, now);
        steer(data.breaker, control);
      }
      told(data, now);
    },
    draw(series, data) {
      draw(series, data);
    },
  };
}

function stateOf(place) {
  const word = h("strong");
  const since = h("p");
  const next = h("p", { class: "next" });
  const operator = h("p", { class: "operator" });
  const icon = h("span", { class: "icon" });
  place.append(icon, h("div", {}, word, since, next, operator));
  let before = null;
  return (breaker, now) => {
    if (breaker.state !== before) icon.replaceChildren(shape(breaker.state));
    before = breaker.state;
    const observing = breaker.mode === "enforce" ? "" : ` · ${breaker.mode === "observe" ? "only observed" : "disabled"}`;
    say(word, STATES[breaker.state] + observing);
    say(since, breaker.since
      ? `since ${clock(breaker.since)} (${span((now - Date.parse(breaker.since)) / 1000)}): ${REASONS[breaker.reason]}`
      : "since this circuit began");
    say(next, probe(breaker, now));
    mark(since, "title", breaker.since ?? "");
    mark(next, "title", breaker.next_probe ?? "");
    say(operator, [held(breaker.held), chosen(breaker)].filter(Boolean).join(" "));
  };
}

function probe(breaker, now) {
  if (breaker.state === "half_open") return "the next call is a probe";
  if (breaker.state !== "open") return "";
  if (!breaker.next_probe) return "no probe until it is released";
  return `next probe in ${Math.max(0, Math.ceil((Date.parse(breaker.next_probe) - now) / 1000))} s`;
}

function held(hold) {
  return hold ? `Held ${hold.state} ${word(hold)}` : "";
}

function chosen(breaker) {
  return breaker.mode_set ? `Set to ${breaker.mode} ${word(breaker.mode_set)}` : "";
}

function word({ by, reason, until }) {
  return `by ${by ?? "an operator"}${until ? ` until ${clock(until)}` : ""}: “${reason ?? "not known"}”.`;
}

function steering(place, name, ask) {
  const make = (text, action, mode) => {
    const button = h("button", { type: "button" }, text, h("span", { class: "unseen" }, ` ${name}`));
    button.addEventListener("click", () => ask(name, action, button.dataset.mode ?? mode));
    place.append(button);
    return button;
  };
  make("Force open", "force-open");
  const release = make("Release", "release");
  make("Reset", "reset");
  const mode = make("Observe", "mode", "observe");
  return (breaker, control) => {
    place.hidden = control === "none";
    release.disabled = !breaker.held && breaker.state !== "open";
    mode.dataset.mode = breaker.mode === "observe" ? "enforce" : "observe";
    say(mode.firstChild, breaker.mode === "observe" ? "Enforce" : "Observe");
  };
}

function factsOf(place, isPool) {
  const fact = (name) => {
    const value = h("dd");
    place.append(h("div", {}, h("dt", {}, name), value));
    return value;
  };
  const flight = fact("in flight");
  const retries = isPool ? null : fact("retries left");
  const errors = fact("last errors");
  errors.parentNode.classList.add("errors");
  return (data, now) => {
    say(flight, count(data.in_flight));
    if (retries) say(retries, count(data.retries_left));
    const lines = data.last_failures.slice(0, FAILURES_SHOWN).map((failure) => [
      failure.code,
      `${failure.status} · ${span((now - Date.parse(failure.at)) / 1000)} ago`,
      failure.message,
    ]);
    if (!lines.length) return say(errors, "none");
    // As many lines as before are changed in place; a reader may be in one of them.
    if (errors.children.length !== lines.length) {
      errors.replaceChildren(...lines.map(() => h("span", {}, h("code"), h("span"))));
    }
    lines.forEach(([code, when, message], n) => {
      const line = errors.children[n];
      say(line.firstChild, code);
      say(line.lastChild, when);
      mark(line, "title", message);
    });
  };
}

function chartsOf(place, isPool) {
  const requests = chart("requests", ["served", "failed"]);
  const durations = chart("duration", ["p95", "p50"]);
  const attempts = chart("attempts per request", ["line"]);
  const ratio = isPool ? null : chart("failure ratio", ["bad"]);
  place.append(...[requests, durations, attempts, ratio].filter(Boolean).map((one) => one.node));
  return (series, data) => {
    const whole = data.last_5_minutes;
    const { paths, base, up } = mirrored(series.served, series.failed);
    requests.draw(
      paths, base,
      together(`${count(whole.served)} served`, `${count(whole.failed)} failed`),
      up ? rate(up / series.step_seconds) : "",
    );
    const slowest = Math.max(...series.p95_seconds, 0);
    durations.draw(
      [steps(series.p95_seconds, slowest || 1), steps(series.p50_seconds, slowest || 1)], FLOOR,
      together(`p50 ${seconds(whole.p50_seconds)}`, `p95 ${seconds(whole.p95_seconds)}`),
      slowest ? seconds(slowest) : "",
    );
    const each = series.attempts.map((count, n) => {
      const asked = series.served[n] + series.failed[n];
      return asked ? count / asked : null;
    });
    const most = Math.max(2, Math.ceil(Math.max(...each)));
    const asked = whole.served + whole.failed;
    attempts.draw(
      [steps(each, most)], FLOOR,
      asked ? (whole.attempts / asked).toFixed(2) : "–",
      asked ? count(most) : "",
    );
    ratio?.draw(
      [steps(series.failure_ratio, 1)], FLOOR, share(data.breaker.failure_ratio), "100 %",
    );
  };
}

// Lines break between the parts only.
function together(...parts) {
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(", ");
}
