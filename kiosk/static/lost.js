// What waits under the number of a slip, and cards that are lost or damaged.
import { $, t, yuan, call, el, advice, Refused } from "./common.js";
import { state, form, go, draw, views, trying, commit } from "./counter.js";
import { addLines } from "./menu.js";

const card = () => form("lost").card.value.replace(/\D/g, "");

addLines(
  ["claim", "topup", true, () => { state.mode = "claim"; state.claim = null; form("claim").reset(); go("claim"); }],
  ["block", "replace", true, () => lost("block")],
);

// ---- claims

views.claim = (s) => {
  const c = state.claim;
  const same = c && s.card.state === "ready" && s.card.number && !s.card.stock;
  $("claim-shown").hidden = !c;
  if (c) {
    $("claim-shown").replaceChildren(el("p", "label", `${t(`kind.${c.kind}`)} · ${t("claim.card", { last4: c.last4, slip: c.claim })}`), el("p", "huge", t("claim.waits", { amount: yuan(c.amount) })));
  }
  $("claim-hint").textContent = t(c && !same ? "claim.load_hint" : "claim.hint");
  $("claim-look").hidden = Boolean(c);
  $("claim-cash").hidden = !c;
  $("claim-load").hidden = !same;
  if (c) {
    $("claim-cash").textContent = t("claim.cash", { amount: yuan(c.amount) });
    $("claim-load").textContent = t("claim.load", { last4: s.card.last4 });
  }
};
form("claim").addEventListener("submit", (e) => {
  e.preventDefault();
  // The short number on the counter's own list will do for its own slips.
  let slip = form("claim").slip.value.normalize("NFKC").trim();
  if (/^\d{1,11}$/.test(slip)) slip = `${state.status.epoch}-${slip}`;
  if (/^\d{1,10}-\d{1,20}$/.test(slip)) slip = `${state.status.terminal}-${slip}`;
  trying(async () => {
    state.claim = null;
    if (!/^\d{12}-\d{1,10}-\d{1,20}$/.test(slip)) {
      throw new Refused({ code: "bad_slip", ...advice("claim.bad") });
    }
    state.claim = await call("GET", `/api/v1/claims/${encodeURIComponent(slip)}`);
  }).then(() => { draw(); if (state.claim) [...form("claim").querySelectorAll("button.first")].find((b) => b.offsetParent)?.focus(); });
});
form("claim").addEventListener("input", () => { state.claim = null; draw(); });
function collect(body, key) {
  const c = state.claim;
  if (!c || state.busy) return;
  commit(`/api/v1/claims/${c.claim}/payout`, { amount: c.amount, ...body }, () => t(key, { amount: yuan(c.amount), slip: c.claim, last4: state.status.card.last4 }));
}
$("claim-cash").addEventListener("click", () => collect({}, "claim.confirm_cash"));
$("claim-load").addEventListener("click", () => collect({ load: true, card: state.status.card.number }, "claim.confirm_load"));

// ---- cards

const reasons = { block: ["lost", "stolen"], replace: ["damaged"] };
export function lost(mode) {
  state.mode = "lost";
  state.wish = mode;
  form("lost").reset();
  form("lost").why.replaceChildren(...reasons[mode].map((r) => new Option(t(`lost_card.why_${r}`), r)));
  go("lost");
}
views.lost = () => {
  const whole = card().length === 20, mode = state.wish;
  $("lost-title").textContent = t(`lost_card.${mode}_title`);
  $("lost-hint").textContent = t(`lost_card.${mode}_hint`);
  for (const o of form("lost").why.options) o.textContent = t(`lost_card.why_${o.value}`);
  $("lost-commit").textContent = whole ? t(`lost_card.commit_${mode}`, { last4: card().slice(-4) }) : t("lost_card.type");
  $("lost-commit").disabled = !whole || state.busy;
};
// What stops a card is asked about once more, whatever the amount.
form("lost").addEventListener("submit", (e) => {
  e.preventDefault();
  if ($("lost-commit").disabled) return;
  const text = () => { views.lost(); return `${$("lost-commit").textContent} · ${card().replace(/(\d{4})(?=\d)/g, "$1\u00a0")}`; };
  state.pending = { path: state.wish === "block" ? "/api/v1/blocks" : "/api/v1/replacements", body: { card: card(), reason: form("lost").why.value }, text, title: "lost_card.sure_title", hint: "lost_card.sure" };
  go("confirm");
});
