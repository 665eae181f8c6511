// The list behind F9: what a counter does beside selling and paying. Each part
// of the page adds its lines.
import { $, t, el } from "./common.js";
import { state, views } from "./counter.js";

const lines = [];

// addLines adds lines to the list: the name, the right that is needed, whether
// a shift must be open, and what is done.
export const addLines = (...more) => lines.push(...more);

views.more = (s) => {
  const open = s.till?.shift?.open;
  $("menu").replaceChildren(...lines.map(([name, right, shift, run], i) => {
    const may = s.session.rights.includes(right), li = el("li"), b = el("button");
    b.type = "button";
    b.dataset.testid = `menu-${name}`;
    b.disabled = !may || (shift && !open) || s.stopped;
    b.append(el("kbd", "", String(i + 1)), el("b", "", t(`menu.${name}`)), el("span", "", may ? t(`menu.${name}_note`) : t("menu.no_right")));
    b.addEventListener("click", run);
    li.append(b);
    return li;
  }));
};

// When the key is let go: else its digit would stand in the field that opens.
addEventListener("keyup", (e) => {
  if (state.view !== "more" || !/^[1-9]$/.test(e.key) || !$("login").hidden) return;
  const b = $("menu").querySelectorAll("button")[Number(e.key) - 1];
  if (b && !b.disabled) b.click();
});
