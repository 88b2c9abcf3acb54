// The status page: hears the live stream, and shows the newest it has heard.

import { asking } from "./ask.js";
import { card } from "./card.js";
import { h, mark, say, shape } from "./dom.js";
import { STATES, are, clock, happened } from "./words.js";

const STALE_AFTER = 5_000;
const DEAF_AFTER = 15_000;

const at = (id) => document.getElementById(id);

let heard = null; // when the last state came, by our own clock
let state = null;
let series = {};
let cards = new Map();
let states = new Map();
let stream = null;
let opened = 0;

const ask = asking(
  () => state?.control === "token",
  (name, what) => say(at("announcer"), `${name}: ${what}, done.`),
);

function listen() {
  stream?.close();
  opened = performance.now();
  stream = new EventSource("api/v1/live");
  stream.addEventListener("state", ({ data }) => hear(JSON.parse(data)));
  stream.addEventListener("series", ({ data }) => {
    series = JSON.parse(data);
    if (state) draw();
  });
  stream.addEventListener("timeline", ({ data }) => tell(JSON.parse(data)));
}

function hear(news) {
  // Another version brings another page.
  if (state && state.version !== news.version) return location.reload();
  heard = performance.now();
  state = news;
  show();
  showConnection();
}

function show() {
  const all = [
    ...state.upstreams.map((data) => ["upstream", data]),
    ...state.pools.map((data) => ["pool", data]),
  ];
  const wanted = all.map(([kind, data]) => `${kind} ${data.name}`);
  if (wanted.join() !== [...cards.keys()].join()) {
    cards = new Map(all.map(([kind, data], n) => [
      wanted[n], cards.get(wanted[n]) ?? card(data.name, kind === "pool", ask),
    ]));
    at("upstreams").replaceChildren(...[...cards.values()].map((one) => one.node));
    draw();
  }
  const now = Date.parse(state.now);
  all.forEach(([, data], n) => cards.get(wanted[n]).update(data, now, state.control));
  say(at("version"), state.version);
  summarize(state.upstreams.map((one) => one.breaker));
}

function draw() {
  for (const [kind, list] of [["upstream", state.upstreams], ["pool", state.pools]]) {
    for (const data of list) {
      if (series[data.name]) cards.get(`${kind} ${data.name}`)?.draw(series[data.name], data);
    }
  }
}

function summarize(breakers) {
  const those = (state) => breakers.filter((one) => one.state === state).map((one) => one.upstream);
  const open = those("open");
  const half = those("half_open");
  const parts = [];
  if (open.length) parts.push(`${are(open)} open.`);
  if (half.length) parts.push(`${are(half)} half-open.`);
  if (!parts.length) parts.push(breakers.length > 1 ? "All circuits are closed." : "The circuit is closed.");
  if (!state.ready) parts.push("The proxy takes no new calls.");
  if (state.control === "none") parts.push("This listener only reads: it has no admin.token.");
  say(at("summary"), parts.join(" "));
  mark(at("summary"), "data-state", open.length ? "open" : half.length ? "half_open" : "closed");
  document.title = `${open.length ? `${open.length} open · ` : ""}octollm-proxy`;
  const moved = breakers.filter((one) => states.has(one.upstream) && states.get(one.upstream) !== one.state);
  if (moved.length) {
    say(at("announcer"), moved.map((one) => `${one.upstream} is ${STATES[one.state].toLowerCase()}.`).join(" "));
  }
  states = new Map(breakers.map((one) => [one.upstream, one.state]));
}

function tell(timeline) {
  at("timeline").replaceChildren(...timeline.map((one) => {
    const icon = one.kind === "moved" ? shape(one.to_state) : h("span", { class: "dot" });
    const time = h("time", { datetime: one.at, title: one.at }, clock(one.at));
    const who = one.upstream ? [h("strong", {}, one.upstream), " "] : [];
    return h("li", { class: one.kind }, time, icon, h("span", {}, ...who, happened(one)));
  }));
}

function showConnection() {
  const quiet = heard === null ? Infinity : performance.now() - heard;
  const stale = quiet > STALE_AFTER;
  document.body.classList.toggle("stale", stale && heard !== null);
  for (const button of document.querySelectorAll(".card button")) {
    button.toggleAttribute("inert", stale);
  }
  const place = at("connection");
  if (heard === null) say(place, "Connecting");
  else if (stale) say(place, `Stale: this is how it was at ${clock(state.now)}. Trying to reconnect.`);
  else say(place, "Live");
  mark(place, "data-is", heard === null ? "new" : stale ? "stale" : "live");
}

setInterval(() => {
  showConnection();
  const quiet = performance.now() - Math.max(heard ?? 0, opened);
  // A browser gives up after an answer that is no stream; a lost network can leave it waiting.
  if (stream.readyState === EventSource.CLOSED ? quiet > 1_000 : quiet > DEAF_AFTER) listen();
}, 1_000);

listen();
