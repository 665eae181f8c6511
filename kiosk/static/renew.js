// The replacement of a damaged card. One that still reads is emptied, and what
// was on it is put on the new card; one that does not is stopped by its number.
import { $, t, el, yuan, money } from "./common.js";
import { state, form, go, draw, views, trying, commit, keys } from "./counter.js";
import { addLines } from "./menu.js";
import { lost } from "./lost.js";

addLines(["replace", "replace", true, () => { state.mode = "renew"; go("renew"); }]);

const reads = (s) => s.card.state === "ready" && s.card.number;
const full = (s) => Boolean(reads(s) && !s.card.stock && s.card.balance > 0);

let shown;
views.renew = (s) => {
  const some = full(s);
  $("renew-hint").textContent = t(`renew.${some ? "ready" : !reads(s) ? "put" : s.card.stock ? "new" : "empty"}`);
  $("renew-shown").hidden = !some;
  if (some) $("renew-shown").replaceChildren(el("p", "label", t("renew.holds", { last4: s.card.last4 })), el("p", "huge", yuan(s.card.balance)));
  $("renew-commit").hidden = !some;
  if (some) $("renew-commit").textContent = t("renew.commit", { amount: yuan(s.card.balance), last4: s.card.last4 });
  $("renew-commit").disabled = state.busy;
  $("renew-dead").hidden = Boolean(reads(s));
  const key = some ? "renew-commit" : "renew-dead";
  if (shown !== key && !state.busy && document.activeElement?.closest("[data-view]")?.dataset.view !== "confirm") $(key).focus(); // what Enter does changes with the card
  shown = key;
};
form("renew").addEventListener("submit", (e) => {
  e.preventDefault();
  const s = state.status;
  if (state.busy || !full(s)) return;
  const { card } = s, text = () => t("renew.commit", { amount: yuan(card.balance), last4: card.last4 });
  commit("/api/v1/card/empty", { card: card.number, amount: card.balance }, text);
});
$("renew-dead").addEventListener("click", () => lost("replace"));

// ---- from the emptied card to the new one

const waiting = () => (state.view === "result" && state.receipt?.kind === "emptied" && state.receipt.overall === "done" ? state.receipt : null);
function carryOn() {
  form("claim").reset();
  form("claim").slip.value = state.receipt.id;
  state.mode = "claim";
  state.claim = null;
  go("claim");
  form("claim").requestSubmit();
}
const f9 = keys.F9;
keys.F9 = () => (waiting() ? carryOn() : f9());
const result = views.result;
views.result = (s) => {
  result(s);
  $("renew-next").hidden = !waiting();
};

// A new card is activated by an ordinary sale without a load; what waits is
// put on it after that.
const claim = views.claim;
let offered;
views.claim = (s) => {
  claim(s);
  const c = state.claim, carried = c?.kind === "replace";
  const fresh = Boolean(c && reads(s) && s.card.stock && s.session.rights.includes("sell")), deposit = s.limits.card_deposit;
  $("claim-new").hidden = !fresh;
  // The value of a replaced card belongs on the new one: cash comes second.
  $("claim-cash").classList.toggle("first", !carried);
  for (const id of ["claim-load", "claim-new"]) $(id).classList.toggle("first", carried);
  const offer = carried && (fresh ? "claim-new" : !$("claim-load").hidden && "claim-load");
  if (offer && offer !== offered && !state.busy) $(offer).focus();
  offered = offer;
  if (!fresh) {
    if (carried && !offer) $("claim-hint").textContent = t("renew.insert");
    return;
  }
  $("claim-hint").textContent = t("claim.hint");
  $("claim-new").textContent = t(deposit ? "renew.activate_deposit" : "renew.activate", { last4: s.card.last4, amount: yuan(state.claim.amount), deposit: yuan(deposit) });
};
$("claim-new").addEventListener("click", async () => {
  const c = state.claim, s = state.status, { number, last4 } = s.card;
  if (!c || state.busy) return;
  let sold;
  await trying(async () => { sold = await money("/api/v1/sales", { card: number, amount: 0, tendered: s.limits.card_deposit }); });
  if (sold?.overall !== "done") return draw();
  commit(`/api/v1/claims/${c.claim}/payout`, { amount: c.amount, load: true, card: number }, () => t("claim.confirm_load", { amount: yuan(c.amount), last4, slip: c.claim }));
});
