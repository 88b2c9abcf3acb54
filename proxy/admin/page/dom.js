// Making elements, and changing them only where they change: what a reader selects, or a screen
// reader reads, is left alone.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// A circuit's state as a shape: told apart without colour.
export function shape(state) {
  const shapes = {
    closed: svg("circle", { cx: 8, cy: 8, r: 6.5 }),
    half_open: svg("path", { d: "M8 .8 15.2 8 8 15.2.8 8Z" }),
    open: svg("path", { d: "M5 1h6l4 4v6l-4 4H5l-4-4V5Z" }),
  };
  const inner = {
    closed: "M4.9 8.3 7.2 10.6 11.2 5.9",
    half_open: "M8 4.7v4m0 2v.6",
    open: "M5 5l6 6m0-6-6 6",
  };
  return svg(
    "svg",
    { class: `shape ${state}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    shapes[state],
    svg("path", { class: "sign", d: inner[state] }),
  );
}
