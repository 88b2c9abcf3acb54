"""A script that computes the contrast of every text one can see (WCAG 2.2, 1.4.3)."""

CONTRAST = """
(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const weak = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    const seen = node.checkVisibility() && !node.closest(".unseen, noscript, [disabled]");
    if (!seen || !walk.currentNode.data.trim()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(channels(style.color)), light(channels(behind(node)))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${walk.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return weak;
})()
"""
