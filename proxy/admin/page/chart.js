// Small charts of the last five minutes. A chart says in words what it shows, for those who do not
// see it; what differs in colour differs in place or dash too.

import { h, mark, say, svg } from "./dom.js";

const STEPS = 60;
const HEIGHT = 60;
export const FLOOR = HEIGHT - 1;

export function chart(title, marks) {
  const value = h("span", { class: "value" });
  const top = h("span", { class: "top", "aria-hidden": "true" });
  const lines = marks.map((name) => svg("path", { class: name }));
  const axis = svg("path", { class: "axis" });
  const drawing = svg(
    "svg",
    { role: "img", viewBox: `0 0 ${STEPS} ${HEIGHT}`, preserveAspectRatio: "none" },
    ...lines,
    axis,
  );
  const node = h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("span", {}, title), top, value),
    drawing,
  );
  return {
    node,
    draw(paths, base, words, highest) {
      paths.forEach((path, n) => mark(lines[n], "d", path));
      mark(axis, "d", `M0 ${base}H${STEPS}`);
      mark(drawing, "aria-label", `${title}, last five minutes: ${words}`);
      say(value, words);
      say(top, highest);
    },
  };
}

// Served above the axis, failed below it.
export function mirrored(above, below) {
  const up = Math.max(...above, 0);
  const down = Math.max(...below, 0);
  const scale = (FLOOR - 1) / Math.max(up + down, 1);
  const base = up + down ? 1 + up * scale : FLOOR;
  return { paths: [bars(above, base, -scale), bars(below, base, scale)], base, up };
}

function bars(values, base, scale) {
  const first = STEPS - values.length;
  return values
    .map((value, n) => (value ? `M${first + n + 0.1} ${base}v${value * scale}h.8V${base}z` : ""))
    .join("");
}

// A line with a step for each value; null leaves a gap.
export function steps(values, highest) {
  const first = STEPS - values.length;
  let path = "";
  let open = false;
  values.forEach((value, n) => {
    if (value === null) {
      open = false;
      return;
    }
    const y = (FLOOR - (value / highest) * (FLOOR - 2)).toFixed(2);
    path += `${open ? "V" : `M${first + n} `}${y}H${first + n + 1}`;
    open = true;
  });
  return path;
}
