// What waits under the number of a slip, and cards that are lost or damaged.
import { $, t, yuan, call, Refused } from "./common.js";
import { state, form, go, draw, views, trying, commit, both } from "./counter.js";

const card = () => form("lost").card.value.replace(/\D/g, "");
const rights = () => state.status.session.rights;

// ---- the list behind F9

const menu = [
  ["claim", "topup", true, () => { state.mode = "claim"; state.claim = null; form("claim").reset(); go("claim"); }],
  ["block", "replace", true, () => lost("block")],
  ["replace", "replace", true, () => lost("replace")],
];

// enter adds a line to the list: its name, the right it needs, whether it
// needs an open shift, and what it does.
export const enter = (...lines) => menu.push(...lines);

views.more = (s) => {
  const open = s.till?.shift?.open;
  $("menu").replaceChildren(...menu.map(([name, right, shift, run], i) => {
    const li = document.createElement("li"), b = document.createElement("button");
    b.type = "button";
    b.dataset.testid = `menu-${name}`;
    b.disabled = !rights().includes(right) || (shift && !open) || s.stopped;
    for (const [tag, text] of [["kbd", String(i + 1)], ["b", t(`menu.${name}`)], ["span", rights().includes(right) ? t(`menu.${name}_note`) : t("menu.no_right")]]) {
      const e = document.createElement(tag);
      e.textContent = text;
      b.append(e);
    }
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

// ---- claims

views.claim = (s) => {
  const c = state.claim;
  const same = c && s.card.state === "ready" && s.card.number && !s.card.stock;
  $("claim-shown").hidden = !c;
  if (c) {
    const p = (cls, text) => Object.assign(document.createElement("p"), { className: cls, textContent: text });
    $("claim-shown").replaceChildren(p("label", `${t(`kind.${c.kind}`)} · ${t("claim.card", { last4: c.last4, slip: c.claim })}`), p("huge", t("claim.waits", { amount: yuan(c.amount) })));
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
  const slip = form("claim").slip.value.trim();
  trying(async () => {
    state.claim = null;
    if (!/^\d{12}-\d{1,10}-\d{1,20}$/.test(slip)) {
      throw new Refused({ code: "bad_slip", sentence: both("claim.bad.sentence"), money: both("claim.bad.money"), next: both("claim.bad.next") });
    }
    state.claim = await call("GET", `/api/v1/claims/${encodeURIComponent(slip)}`);
  }).then(() => { draw(); if (state.claim) $("claim-cash").focus(); });
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
function lost(mode) {
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
  const text = () => { views.lost(); return $("lost-commit").textContent; };
  state.pending = { path: state.wish === "block" ? "/api/v1/blocks" : "/api/v1/replacements", body: { card: card(), reason: form("lost").why.value }, text, title: "lost_card.sure_title", hint: "lost_card.sure" };
  go("confirm");
});
