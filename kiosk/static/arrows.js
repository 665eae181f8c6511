// The arrow keys go from button to button on the clerk's page, the way they
// point: over the actions, through a list, and across to what was done last.
import { $, $$ } from "./common.js";

const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

addEventListener("keydown", (e) => {
  const way = ways[e.key], here = document.activeElement;
  if (!way || e.altKey || e.ctrlKey || e.metaKey || here?.tagName !== "BUTTON" || !here.closest("main") || !$("login").hidden) return;
  e.preventDefault();
  const at = here.getBoundingClientRect();
  let best = null, least = Infinity;
  for (const b of $$("main button:enabled")) {
    if (b === here || !b.getClientRects().length) continue;
    const r = b.getBoundingClientRect();
    // The gap in the way's direction, and how far aside it lies: that counts more.
    const [along, aside] = way[0]
      ? [way[0] > 0 ? r.left - at.right : at.left - r.right, Math.max(0, r.top - at.bottom, at.top - r.bottom)]
      : [way[1] > 0 ? r.top - at.bottom : at.top - r.bottom, Math.max(0, r.left - at.right, at.left - r.right)];
    // Side by side without a gap still lies in the way.
    if (along < -2) continue;
    const far = Math.max(0, along) + 20 * aside + Math.abs(way[0] ? r.top - at.top : r.left - at.left) / 100;
    if (far < least) [best, least] = [b, far];
  }
  best?.focus();
  best?.scrollIntoView({ block: "nearest" });
});
