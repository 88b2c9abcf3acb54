// How things are said. Nothing here touches the page.

export const STATES = { closed: "Closed", half_open: "Half-open", open: "Open" };

export const REASONS = {
  consecutive: "failures in a row",
  failure_rate: "too large a share of failures",
  timeout_elapsed: "its time was over",
  probe_succeeded: "a probe succeeded",
  probe_failed: "the probe failed",
  forced: "an operator said so",
  released: "an operator released it",
  peer: "another replica said so",
};

const ACTIONS = {
  "force-open": "forced open",
  "force-closed": "forced closed",
  release: "released",
  reset: "reset",
};

export function clock(iso) {
  return new Date(iso).toLocaleTimeString([], { hourCycle: "h23" });
}

const AND = new Intl.ListFormat("en");

export function are(names) {
  return `${AND.format(names)} ${names.length > 1 ? "are" : "is"}`;
}

export function seconds(value) {
  if (value === null) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 10 ? `${value.toFixed(1)} s` : span(value);
}

export function span(value) {
  const whole = Math.max(0, Math.round(value));
  if (whole < 90) return `${whole} s`;
  if (whole < 90 * 60) return `${Math.round(whole / 60)} min`;
  return whole < 36 * 3600 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86400)} d`;
}

export function count(value) {
  return value.toLocaleString("en");
}

export function rate(value) {
  return `${value < 10 ? value.toFixed(1) : count(Math.round(value))}/s`;
}

export function share(value) {
  return `${Math.round(value * 100)} %`;
}

export function acted(action) {
  return action.action === "mode" ? `set to ${action.mode}` : ACTIONS[action.action];
}

// What stands on the time line, after its time and its upstream.
export function happened(one) {
  switch (one.kind) {
    case "started":
      return "The proxy started.";
    case "config":
      return one.result === "reloaded"
        ? "Another config is in force."
        : `A config was rejected: ${one.problems.join("; ")}`;
    case "action": {
      const until = one.until ? ` until ${clock(one.until)}` : "";
      return `${acted(one)} by ${one.by}${until}: “${one.reason}”`;
    }
    default: {
      const states = `${STATES[one.from_state]} → ${STATES[one.to_state]}`.toLowerCase();
      const long = one.to_state !== "open" ? "" : one.open_seconds === null
        ? ", until released" : `, for ${span(one.open_seconds)}`;
      return `${states}: ${REASONS[one.reason]}${long}`;
    }
  }
}
