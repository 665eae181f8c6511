// The customer's page: five steps, one thing to do on each, and nothing left
// behind for the next person.
import { $, $$, t, say, onLanguage, yuan, fen, time, call, money, fulfilled, live, beep, facts, view, el, Refused } from "./common.js";

const IDLE = 60, MORE = 20; // seconds
const state = { status: null, cut: false };
clear("attract");

// clear forgets everything that belongs to a person.
function clear(name) {
  if (!state.lost) fulfilled(); // a wish whose end nobody knows keeps its key
  Object.assign(state, {
    view: name, account: "", again: "", asking: false, bill: null, amount: "", preset: null,
    refusal: null, receipt: null, lost: null, busy: false, idle: 0,
  });
}

// again loads the page anew, which gives it a session; slowly, since a browser
// that keeps no cookies would do it for ever.
let loading;
const again = () => { loading ??= setTimeout(() => location.reload(), 2000); };

const steps = { attract: 1, reading: 1, account: 2, amount: 3, confirm: 4, working: 4, result: 5 };
const personal = ["account", "amount", "confirm"];

function accept(s) {
  state.status = s;
  const c = s.card, had = state.card;
  state.card = c.number;
  if (s.session.role !== "kiosk" && !state.busy) { again(); return; }
  const told = `${c.number} ${c.settled}`;
  if (state.told !== told) { state.told = told; state.settled = null; tell(c); }
  if (s.busy || state.busy) { draw(); return; }
  const out = s.stopped || !s.psam.present || s.psam.problem || !s.reader;
  if (out && state.view !== "result") clear("closed");
  else if (had && had !== c.number && personal.includes(state.view)) clear("attract"); // taken out or swapped
  else if (had && !c.number && state.view === "result" && state.receipt?.overall === "done") { clear("bye"); setTimeout(() => { if (state.view === "bye") { clear("attract"); arrive(); draw(); } }, 3000); }
  arrive();
  draw();
}

// tell shows what became of payments that were not certain and that this card
// settled by coming back.
async function tell(c) {
  for (const id of c.settled ?? []) {
    try {
      const r = await call("GET", `/api/v1/transactions/${id}`);
      if (state.status.card.number === c.number) state.settled = r;
    } catch { return; } // the card is gone, or the clerk can look it up
  }
  draw();
}

// arrive goes where the card in the reader leads.
function arrive() {
  const c = state.status.card;
  if (state.view === "closed" && state.status.reader && state.status.psam.present && !state.status.psam.problem && !state.status.stopped) clear("attract");
  if (!["attract", "reading", "trouble", "take", "bye"].includes(state.view)) return;
  const there = { none: "attract", no_reader: "closed", reading: "reading", refused: "trouble", unreadable: "trouble", ready: c.stock ? "trouble" : "account" }[c.state];
  if (state.view === "take" && there === "account") return;
  if (state.view === "bye" && there === "attract") return;
  if (there !== state.view) clear(there);
}

const problem = () => (state.status.card.stock ? { sentence: both("refusal.card_not_activated.sentence"), money: both("refusal.card_not_activated.money"), next: both("kiosk.ask_clerk") } : state.status.card.problem);
const all = JSON.parse(document.getElementById("messages").textContent);
const both = (key) => Object.fromEntries(Object.entries(all).map(([l, m]) => [l, m[key]]));

// masked hides the middle of an account for what stays on the screen.
const masked = (n) => `${n.slice(0, 2)}******${n.slice(8)}`;
const grouped = (n) => n.replace(/^(\d{1,4})(\d{1,4})?(\d{1,2})?$/, (m, a, b, c) => [a, b, c].filter(Boolean).join(" "));

function typed(box, shown, empty) {
  box.replaceChildren(shown);
  if (!shown) box.append(el("i", "", empty));
}

function draw() {
  const s = state.status;
  if (state.cut) clear("closed");
  const name = (state.busy || s?.busy) && personal.includes(state.view) ? "working" : state.view;
  view(name);
  const step = steps[name];
  $("steps").hidden = !step || name === "attract";
  for (const li of $$("[data-step]")) {
    li.className = li.dataset.step < step ? "past" : Number(li.dataset.step) === step ? "now" : "";
    if (li.className === "now") li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  }
  if (!s) return;
  $("banner").hidden = s.link.online || ["closed", "trouble", "bye"].includes(name);
  $("banner").textContent = t("kiosk.offline", { time: time(s.link.last_sync, s.now), limit: yuan(s.limits.redeem_max) });
  const c = s.card;
  for (const id of ["account", "amount", "confirm"]) {
    const box = $(`${id}-refusal`);
    box.hidden = !state.refusal || state.view !== id;
    if (!box.hidden) box.replaceChildren(el("b", "", say(state.refusal.sentence)), el("br"), `${say(state.refusal.money)} ${say(state.refusal.next)}`);
  }
  switch (name) {
    case "account": {
      $("card-number").textContent = `${t("kiosk.card")} …${c.last4}`;
      $("card-balance").textContent = c.balance === null ? "–" : yuan(c.balance);
      const r = state.settled;
      $("settled").hidden = !r;
      if (r) $("settled").replaceChildren(el("b", "", t("settled", { slip: r.id })), el("br"), (r.overall === "done" ? say(r.money) : `${say(r.sentence)} ${say(r.money)}`).replaceAll(r.account || "\0", masked(r.account)));
      $("account-hint").hidden = Boolean(r) && !state.asking;
      $("account-title").textContent = t(state.asking ? "kiosk.account_again" : "kiosk.account");
      $("account-hint").textContent = t(state.asking ? "kiosk.account_why" : "kiosk.account_hint");
      const now = state.asking ? state.again : state.account;
      typed($("account-typed"), grouped(now), "0000 0000 00");
      $("account-next").disabled = now.length !== 10;
      break;
    }
    case "amount": {
      const b = state.bill, balance = c.balance ?? 0;
      $("bill").replaceChildren(...(b.seen === "typed"
        ? [el("p", "label", t("kiosk.to")), el("p", "huge", grouped(b.account)), el("p", "hint", t("bill.typed_kiosk"))]
        : [el("p", "label", `${grouped(b.account)} · ${b.owner}`), el("p", "label", t(b.owed > 0 ? "kiosk.owed" : "kiosk.ahead")), el("p", "huge", yuan(b.owed > 0 ? b.owed : b.balance)),
          el("p", "hint", t(b.seen === "online" ? "bill.online" : "bill.cached", { time: time(b.as_of, s.now) }))]));
      $("amount-balance").textContent = t("kiosk.on_card", { amount: yuan(balance) });
      choice($("pay-owed"), t("kiosk.pay_owed"), b.owed, b.owed > 0 && b.owed <= balance);
      choice($("pay-all"), t("kiosk.pay_all"), balance, balance > 0);
      typed($("amount-typed"), state.amount ? `¥ ${state.amount}` : "", "¥ 0");
      const a = fen(state.amount);
      $("amount-next").disabled = !a;
      break;
    }
    case "confirm": {
      const b = state.bill, a = fen(state.amount);
      facts($("confirm-facts"), [
        [t("kiosk.card"), `…${c.last4}`],
        [t("kiosk.to"), `${grouped(b.account)}${b.owner ? ` · ${b.owner}` : ""}${b.seen === "typed" ? ` · ${t("not_verified")}` : ""}`],
        [t("kiosk.amount_short"), yuan(a)],
        [t("kiosk.left"), yuan((c.balance ?? 0) - a)]]);
      $("confirm-pay").textContent = t("kiosk.pay", { amount: yuan(a) });
      break;
    }
    case "result": drawResult(); break;
    case "trouble": {
      const p = problem();
      if (!p) break;
      $("trouble-sentence").textContent = say(p.sentence);
      $("trouble-money").textContent = say(p.money);
      $("trouble-next").textContent = say(p.next);
      break;
    }
  }
  const left = state.idle - IDLE;
  $("still").hidden = left < 0;
  $("still-left").textContent = t("kiosk.seconds", { n: Math.max(0, MORE - left) });
}

function choice(b, label, amount, on) {
  b.hidden = amount <= 0;
  b.disabled = !on;
  b.replaceChildren(el("span", "", label), el("b", "", yuan(amount)));
}

function drawResult() {
  const r = state.receipt, overall = r ? r.overall : "unknown", box = $("result");
  box.dataset.overall = overall;
  box.querySelector(".glyph").setAttribute("class", `glyph ${overall}`);
  $("result-glyph").setAttribute("href", `#g-${overall}`);
  $("result-verdict").textContent = t(`verdict.${overall}_kiosk`);
  $("result-amount").textContent = r ? yuan(r.amount) : "";
  const words = r ?? state.lost;
  const shown = words?.money ? say(words.money) : t("lost.money");
  $("result-money").textContent = r?.account ? shown.replaceAll(r.account, masked(r.account)) : shown;
  $("result-next").textContent = overall === "done" ? t("kiosk.take_card") : words?.next ? say(words.next) : t("lost.next_kiosk");
  $("result-reason").textContent = r?.reason ? say(r.reason.sentence) : "";
  facts($("result-facts"), r ? [
    [t("slip"), r.id], [t("kiosk.to"), r.account ? `${masked(r.account)}${r.account_seen === "typed" ? ` · ${t("not_verified")}` : ""}` : ""],
    [t("card.after"), r.balance === null ? "" : yuan(r.balance)]] : []);
  $("ask-again").hidden = Boolean(r);
  $("result-finish").textContent = t(overall === "unknown" ? "kiosk.noted" : "finish");
}

// ---- doing

const pads = { account: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"], amount: ["1", "2", "3", "4", "5", "6", "7", "8", "9", ".", "0", "back"] };
function drawPads() {
  for (const pad of $$(".pad")) {
    pad.replaceChildren(...pads[pad.dataset.pad].map((k) => {
      const b = el("button", k.length > 1 ? "word" : "", k.length > 1 ? t(`pad.${k}`) : k);
      b.type = "button";
      b.dataset.testid = `${pad.dataset.pad}-${{ ".": "dot", back: "delete" }[k] ?? k}`; // "back" is the button that goes a step back
      b.addEventListener("click", () => press(pad.dataset.pad, k));
      return b;
    }));
  }
}

function press(pad, k) {
  state.refusal = null;
  if (pad === "account") {
    const field = state.asking ? "again" : "account";
    if (k === "clear") state[field] = "";
    else if (k === "back") state[field] = state[field].slice(0, -1);
    else if (state[field].length < 10) state[field] += k;
  } else {
    const next = k === "back" ? state.amount.slice(0, -1) : state.amount + k;
    if (/^(\d{0,5}(\.\d{0,2})?)$/.test(next)) state.amount = next.replace(/^0(?=\d)/, "").replace(/^\./, "0.");
  }
  draw();
}

async function trying(fn) {
  if (state.busy) return;
  state.busy = true;
  state.refusal = null;
  try {
    await fn();
  } catch (e) {
    if (e instanceof Refused && e.body.code === "login_needed") { again(); return; }
    state.refusal = e instanceof Refused ? e.body : { sentence: both("cut"), money: both("refusal.busy.money"), next: both("cut_note") };
  } finally {
    state.busy = false;
    draw();
  }
}

$("account-next").addEventListener("click", () => {
  if (state.asking) {
    if (state.again !== state.account) {
      state.refusal = Object.fromEntries(["sentence", "money", "next"].map((k) => [k, both(`refusal.account_mismatch.${k}`)]));
      state.again = state.account = "";
      state.asking = false;
    } else state.view = "amount";
    draw();
    return;
  }
  trying(async () => {
    const mine = state.account, bill = await call("GET", `/api/v1/accounts/${mine}`);
    if (state.account !== mine || state.view !== "account") return; // the card left meanwhile
    state.bill = bill;
    if (bill.seen === "typed") state.asking = true;
    else state.view = "amount";
  });
});
$("pay-owed").addEventListener("click", () => { state.amount = plain(state.bill.owed); state.view = "confirm"; draw(); });
$("pay-all").addEventListener("click", () => { state.amount = plain(state.status.card.balance); state.view = "confirm"; draw(); });
const plain = (f) => yuan(f).replace(/[¥,]/g, "");
$("amount-next").addEventListener("click", () => {
  if (fen(state.amount) > (state.status.card.balance ?? 0)) {
    state.refusal = Object.fromEntries(["sentence", "money", "next"].map((k) => [k, both(`refusal.balance_low.${k}`)]));
  } else state.view = "confirm";
  draw();
});
$("confirm-pay").addEventListener("click", pay);
$("ask-again").addEventListener("click", pay);

async function pay() {
  if (state.busy) return;
  const body = state.lost?.body ?? { card: state.status.card.number, account: state.bill.account, amount: fen(state.amount) };
  if (!state.lost && state.bill.seen === "typed") body.again = state.again;
  state.busy = true;
  state.refusal = null;
  state.view = "confirm";
  draw();
  try {
    const r = await money("/api/v1/redemptions", body);
    state.receipt = r;
    state.lost = null;
    state.view = "result";
    beep(r.overall);
  } catch (e) {
    if (e instanceof Refused && e.body.code !== "uncertain") {
      state.refusal = e.body;
      if (e.body.code === "login_needed") again();
    } else {
      state.lost = { body, ...(e instanceof Refused ? e.body : {}) };
      state.view = "result";
      beep("unknown");
    }
  } finally {
    state.busy = false;
    state.idle = 0;
    if (state.view === "confirm" && !state.status.card.number) clear("attract");
    draw();
  }
}

for (const b of $$("[data-step-back]")) b.addEventListener("click", () => { state.refusal = null; state.view = state.view === "confirm" ? "amount" : "account"; if (state.view === "account") { state.asking = false; state.again = ""; } draw(); });
$("account-cancel").addEventListener("click", leave);
$("result-finish").addEventListener("click", leave);
$("go-on").addEventListener("click", () => { clear("attract"); arrive(); draw(); });

// leave forgets the person and asks for the card to be taken.
function leave() {
  clear(state.status.card.number ? "take" : "attract");
  draw();
}

// A minute without a touch asks; no answer forgets everything. Never while
// the card is being written.
setInterval(() => {
  if (!state.status || state.busy || state.status.busy || ["attract", "reading", "take", "bye", "trouble", "closed"].includes(state.view)) { state.idle = 0; return; }
  state.idle++;
  if (state.idle >= IDLE + MORE) leave();
  else if (state.idle >= IDLE) draw();
}, 1000);
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { if (state.idle < IDLE) state.idle = 0; }, true);
$("more-time").addEventListener("click", () => { state.idle = 0; draw(); });
addEventListener("keydown", (e) => {
  const pad = state.view === "account" || state.view === "amount" ? state.view : null;
  if (pad && /^[0-9.]$/.test(e.key) && !(pad === "account" && e.key === ".")) press(pad, e.key);
  else if (pad && e.key === "Backspace") press(pad, "back");
});
addEventListener("contextmenu", (e) => e.preventDefault());

onLanguage(() => { drawPads(); draw(); });
drawPads();
draw();
live("kiosk", accept, (c) => { if (state.cut !== c && !state.busy) { state.cut = c; if (!c && state.view === "closed") clear("attract"); draw(); } });
