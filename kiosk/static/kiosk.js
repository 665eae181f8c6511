// The customer's page: five steps, one thing to do on each, and nothing left
// behind for the next person. What happened is asked of the terminal; the page
// only remembers what a person is typing.
import { $, $$, t, say, lang, inOther, other, useLanguage, onLanguage, yuan, fen, time, call, money, fulfilled, live, beep, facts, view, el, Refused, both, advice } from "./common.js";
import { speak, hush } from "./speech.js";

// Seconds, of field.md section 5: without a touch until the question, from
// there until everything is forgotten, and until the card's alarm.
const calm = { idle: 60, more: 20 }, slow = { idle: 120, more: 30 }, ALARM = 30, BYE = 2;

const state = { status: null, cut: false };
const root = document.documentElement, elder = () => root.classList.contains("elder");
const patience = () => (elder() ? slow : calm);
clear("attract");

// clear forgets everything that belongs to a person.
function clear(name) {
  if (!state.lost) fulfilled(); // a wish whose end nobody knows keeps its key
  Object.assign(state, {
    view: name, account: "", again: "", asking: false, known: false, bill: null, amount: "",
    refusal: null, receipt: null, lost: null, busy: false, paying: false, idle: 0, paid: null, log: null, noPaper: false, settled: null, just: null, whole: false, printing: false, wanted: false,
  });
}

// forget ends a visit: with the person goes how they wanted the screen.
function forget(name) {
  clear(name);
  for (const wish of ["elder", "contrast"]) prefer(wish, false);
  if (lang !== firstLanguage) useLanguage(firstLanguage);
  hush();
}

// How a person wants the screen lasts until forget, also when the browser
// loads the page anew.
const kept = (() => { try { return window.sessionStorage; } catch { return {}; } })();
const firstLanguage = kept.language ??= lang;
function prefer(wish, on) {
  root.classList.toggle(wish, on);
  $(wish).setAttribute("aria-pressed", String(on));
  if (on) kept[wish] = "1"; else delete kept[wish];
}
for (const wish of ["elder", "contrast"]) {
  prefer(wish, Boolean(kept[wish]));
  $(wish).addEventListener("click", () => { prefer(wish, !root.classList.contains(wish)); state.said = ""; draw(); });
}

// again loads the page anew, which gives it a session; slowly, since a browser
// that keeps no cookies would do it for ever.
let loading;
const again = () => { loading ??= setTimeout(() => location.reload(), 2000); };
// A page that comes back by the browser's back button starts from nothing.
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
addEventListener("pagehide", () => { clear("attract"); draw(); });

const steps = { account: 2, choose: 2, bill: 3, amount: 3, confirm: 4, working: 4, result: 5 };
const personal = ["choose", "account", "bill", "amount", "confirm", "history"];
const prompts = {
  attract: "kiosk.insert", choose: "a11y.say_choose", account: "kiosk.account", bill: "kiosk.amount", amount: "kiosk.amount", confirm: "kiosk.check",
  working: "kiosk.leave_card", reading: "kiosk.leave_card", held: "kiosk.held", take: "kiosk.take", bye: "kiosk.bye", closed: "kiosk.closed",
};

function accept(s) {
  const was = state.status, c = s.card, had = state.card, first = !was;
  state.status = s;
  if (s.session.role !== "kiosk" && !state.paying) { again(); return; }
  const told = `${c.number} ${c.settled}`;
  if (state.told !== told) { state.told = told; state.settled = null; tell(c); }
  if (s.busy || state.paying) { state.watched = s.busy && !state.paying; state.watchedBy = s.busy_by; draw(); return; }
  // Paper that fails while the slip comes out: the picture stands in for it.
  if (state.view === "result" && state.receipt?.slip?.state === "printing" && noPaper(s)) state.noPaper = true;
  state.card = c.number;
  // Another screen's transaction had the card. What it did is the daemon's to
  // say, and what was typed here was typed for another balance.
  const moved = personal.includes(state.view) && had && had === c.number && (state.watched || (c.balance !== null && c.balance !== state.balance));
  const begun = state.view !== "choose"; // else nothing is lost that was typed
  const watched = state.watched;
  state.watched = false;
  const out = s.stopped || !s.psam.present || s.psam.problem || !s.reader;
  if (out && state.view !== "result") clear("closed");
  else if (had && had !== c.number && personal.includes(state.view)) forget("attract"); // taken out or swapped
  else if (had && !c.number && state.view === "result" && goes()) bye();
  else if (had && !c.number && state.view === "take") bye();
  else if (moved) clear("attract");
  const showEnd = (first && s.session.role === "kiosk") || (watched && state.watchedBy === "kiosk");
  arrive(showEnd ? "end" : moved && begun ? "moved" : "");
  draw();
}

// goes says that what stands on the screen may go with the card: a payment
// that is done, and no slip that somebody waits for or photographs.
const goes = () => state.receipt?.overall === "done" && !state.printing && $("slip-shown").hidden;

function bye() {
  forget("bye");
  setTimeout(() => { if (state.view === "bye") { clear("attract"); arrive(); draw(); } }, BYE * 1000);
}

// tell shows what became of payments that were not certain and that this card
// settled by coming back.
async function tell(c) {
  for (const id of c.settled ?? []) {
    try {
      const r = await call("GET", `/api/v1/transactions/${id}`);
      if (state.status.card.number !== c.number) return;
      state.settled = r;
      if (state.view === "result" && state.receipt?.id === id && state.receipt.overall === "unknown" && r.overall !== "unknown") {
        state.receipt = r;
        show(r);
      }
    } catch { return; } // the card is gone, or the clerk can look it up
  }
  draw();
}

// arrive goes where the card in the reader leads.
function arrive(how) {
  const s = state.status, c = s.card;
  if (state.view === "closed" && s.reader && s.psam.present && !s.psam.problem && !s.stopped) clear("attract");
  if (!["attract", "reading", "trouble", "take", "bye"].includes(state.view)) return;
  const there = { none: "attract", no_reader: "closed", reading: "reading", refused: "trouble", unreadable: "trouble", ready: c.stock ? "trouble" : "choose" }[c.state];
  if (state.view === "take" && c.state !== "none") return;
  if (state.view === "bye" && there === "attract") return;
  if (there === state.view) return;
  const settled = state.settled;
  clear(there);
  state.settled = settled;
  if (there === "choose") { state.balance = c.balance; remember(how); }
}

// remember asks which accounts this card paid, and how its last payment ended:
// a page that was loaded anew in the middle of one shows its end.
async function remember(how) {
  const mine = state.status.card.number;
  let paid;
  try { paid = await call("GET", "/api/v1/card/accounts"); } catch { return; } // the pad is there all the same
  if (state.status.card.number !== mine || state.view !== "choose") return;
  state.paid = paid.accounts;
  if (paid.last && how === "end" && kept.shown !== paid.last.id) {
    state.receipt = paid.last;
    show(paid.last);
  } else if (how) {
    state.just = paid.last;
    if (how === "moved") state.refusal = Object.fromEntries(["sentence", "money", "next"].map((k) => [k, both(k === "sentence" ? "kiosk.moved" : `refusal.card_changed.${k}`)]));
  }
  draw();
}

// show ends a payment on the screen.
function show(r) {
  state.view = "result";
  state.noPaper = noPaper(state.status);
  kept.shown = r.id;
  beep(r.overall);
}

const problem = () => (state.status.card.stock ? { sentence: both("refusal.card_not_activated.sentence"), money: both("refusal.card_not_activated.money"), next: both("kiosk.ask_clerk") } : state.status.card.problem);

// noPaper says that a printer is known to print nothing now.
const noPaper = (s) => Boolean(s?.printer) && !["ok", "paper_low"].includes(s.printer.state);

// masked hides the middle of an account: the first 2 and the last 4 stay.
const masked = (n) => `${n.slice(0, 2)}****${n.slice(6)}`;
const grouped = (n) => n.replace(/^(\d{1,4})(\d{1,4})?(\d{1,2})?$/, (m, a, b, c) => [a, b, c].filter(Boolean).join(" "));
const named = (b) => (state.known ? masked(b.account) : grouped(b.account)); // a number from the journal was not typed by whoever stands here
const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const day = (iso) => (lang === "en" ? `${Number(iso.slice(8, 10))} ${months[Number(iso.slice(5, 7)) - 1]} ${iso.slice(0, 4)}` : `${Number(iso.slice(0, 4))}年${Number(iso.slice(5, 7))}月${Number(iso.slice(8, 10))}日`);
const icon = (name, cls) => {
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg"), use = document.createElementNS(ns, "use");
  svg.setAttribute("class", `icon ${cls ?? ""}`);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
};

// task fills a large button: a sign, what it does, a smaller word about it.
function task(b, sign, label, note, sum) {
  const words = el("span");
  words.append(el("b", "", label));
  if (note) words.append(el("small", "", note));
  b.replaceChildren(icon(sign), words, ...(sum ? [el("b", "sum", sum)] : []), icon("go", "go"));
}

function typed(box, shown, empty) {
  box.replaceChildren(shown);
  if (!shown) box.append(el("i", "", empty));
}

function draw() {
  const s = state.status;
  if (state.cut) clear("closed");
  const busy = state.paying || (s?.busy && state.watched);
  let name = state.view;
  const trouble = name === "trouble" && problem(); // a new card has none any more once it is being sold
  if (busy && !trouble && !["result", "closed"].includes(name)) name = !state.paying && s?.busy_by === "counter" ? "held" : "working";
  view(name);
  document.body.dataset.at = name;
  $("other-tongue").textContent = inOther("kiosk.insert");
  $("other-tongue").lang = other();
  const step = steps[name];
  $("steps").hidden = !step;
  if (step) $("step").textContent = t("a11y.step", { n: step, m: 5, name: t(`step.${["card", "account", "amount", "confirm", "done"][step - 1]}`) });
  for (const li of $$("[data-step]")) {
    li.className = li.dataset.step < step ? "past" : Number(li.dataset.step) === step ? "now" : "";
    if (li.className === "now") li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  }
  if (!s) return;
  $("banner").hidden = s.link.online || ["closed", "trouble", "bye", "take", "result"].includes(name);
  $("banner").textContent = t("kiosk.offline", { time: time(s.link.last_sync, s.now), limit: yuan(s.limits.redeem_max) });
  for (const id of ["choose", "account", "bill", "amount", "confirm"]) {
    const box = $(`${id}-refusal`);
    box.hidden = !state.refusal || state.view !== id;
    if (!box.hidden) box.replaceChildren(el("b", "", say(state.refusal.sentence)), el("br"), `${say(state.refusal.money)} ${say(state.refusal.next)}`);
  }
  screens[name]?.(s, s.card);
  drawStill(name);
  if (state.said !== name + lang) {
    state.said = name + lang;
    if (elder()) speak(name === "result" ? `verdict.${state.receipt?.overall ?? "unknown"}_kiosk` : prompts[name], lang);
  }
}

function drawStill(name) {
  const left = state.idle - patience().idle, asks = left >= 0 && timed(name);
  if (asks && $("still").hidden && elder()) speak("kiosk.still", lang);
  $("still").hidden = !asks;
  $("still-left").textContent = t("kiosk.seconds", { n: Math.max(0, patience().more - left) });
  for (const e of $$("main, .steps")) e.inert = asks;
  $("take").classList.toggle("alarm", name === "take" && state.idle >= ALARM);
}

const screens = {
  choose(s, c) {
    $("card-balance").textContent = c.balance === null ? "–" : yuan(c.balance);
    $("card-number").textContent = `${t("kiosk.card")} …${c.last4}`;
    $("card-kind").textContent = t(c.named ? "card.named" : "card.unnamed");
    $("card-until").textContent = c.valid_to ? t("kiosk.until", { date: day(c.valid_to) }) : "";
    const r = state.settled ?? state.just;
    $("settled").hidden = !r;
    if (r) $("settled").replaceChildren(el("b", "", state.settled ? t("settled", { slip: r.id }) : t("kiosk.just", { slip: r.id, amount: yuan(r.amount) })), el("br"), (r.overall === "done" ? say(r.money) : `${say(r.sentence)} ${say(r.money)}`).replaceAll(r.account || "\0", masked(r.account)));
    const known = (state.paid ?? []).slice(0, elder() ? 1 : 2);
    $("paid").replaceChildren(...known.map((p, i) => {
      const b = el("button", `task ${i ? "" : "first"}`);
      b.type = "button";
      b.dataset.testid = `pay-known-${i}`;
      task(b, "home", t("kiosk.pay_known", { account: masked(p.account) }), t("kiosk.pay_known_hint", { amount: yuan(p.amount), date: day(p.at) }));
      b.addEventListener("click", () => lookUp(p.account, true));
      return b;
    }));
    $("pay-other-label").textContent = t(known.length ? "kiosk.pay_other" : "kiosk.pay_bill");
    $("pay-other").classList.toggle("first", known.length === 0);
  },
  account() {
    $("account-title").textContent = t(state.asking ? "kiosk.account_again" : "kiosk.account");
    $("account-hint").textContent = t(state.asking ? "kiosk.account_why" : "kiosk.account_hint");
    const now = state.asking ? state.again : state.account;
    typed($("account-typed"), grouped(now), "0000 0000 00");
    $("account-next").disabled = now.length !== 10;
  },
  bill(s, c) {
    const b = state.bill, balance = c.balance ?? 0, typedIn = b.seen === "typed";
    $("bill").replaceChildren(el("p", "label", t("kiosk.to")), el("p", "who", [named(b), typedIn ? "" : b.owner].filter(Boolean).join(" · ")),
      ...(typedIn ? [el("p", "hint", t("bill.typed_kiosk"))] : [
        el("p", "label", t(b.owed > 0 ? "kiosk.owed" : "kiosk.ahead")), el("p", "huge", yuan(b.owed > 0 ? b.owed : b.balance)),
        el("p", "hint", t(b.seen === "online" ? "bill.online" : "bill.cached", { time: time(b.as_of, s.now) }))]));
    $("bill-balance").textContent = t("kiosk.on_card", { amount: yuan(balance) });
    const short = b.owed > balance;
    $("pay-owed").hidden = typedIn || b.owed <= 0;
    $("pay-owed").disabled = short;
    task($("pay-owed"), "yuan", t("kiosk.pay_owed"), short ? t("kiosk.not_enough") : "", yuan(b.owed));
    $("pay-all").hidden = !short || balance <= 0;
    task($("pay-all"), "yuan", t("kiosk.pay_all"), "", yuan(balance));
    $("other-amount").classList.toggle("first", $("pay-owed").hidden && $("pay-all").hidden);
  },
  amount(s, c) {
    const b = state.bill;
    $("amount-bill").textContent = b.owed > 0 ? `${t("kiosk.owed")} ${yuan(b.owed)}` : "";
    $("amount-balance").textContent = t("kiosk.on_card", { amount: yuan(c.balance ?? 0) });
    typed($("amount-typed"), state.amount ? `¥ ${state.amount}` : "", "¥ 0");
    $("amount-next").disabled = !fen(state.amount);
  },
  confirm(s, c) {
    const b = state.bill, a = fen(state.amount);
    $("confirm-amount").textContent = yuan(a);
    facts($("confirm-facts"), [
      [t("kiosk.to"), `${named(b)}${b.owner ? ` · ${b.owner}` : ""}${b.seen === "typed" ? ` · ${t("not_verified")}` : ""}`],
      [t("kiosk.card"), `…${c.last4}`],
      [t("kiosk.left"), yuan((c.balance ?? 0) - a)]]);
    $("confirm-pay").textContent = t("kiosk.pay", { amount: yuan(a) });
    $("no-paper").hidden = !noPaper(s);
    $("no-paper").textContent = t("kiosk.no_paper");
  },
  history(s) {
    const rows = state.log ?? [];
    $("history-empty").hidden = !state.log || rows.length > 0;
    $("history").tBodies[0].replaceChildren(...rows.slice(0, elder() ? 5 : 8).map((r) => {
      const tr = el("tr");
      tr.append(el("td", "", r.at ? time(r.at, s.now) : "–"), el("td", "", t(`log.${r.kind}`)), el("td", "sum", `${r.kind === "purchase" ? "−" : r.kind === "load" ? "+" : ""}${yuan(r.amount)}`));
      return tr;
    }));
  },
  result: drawResult,
  trouble() {
    const p = problem();
    if (!p) return;
    $("trouble-sentence").textContent = say(p.sentence);
    $("trouble-money").textContent = say(p.money);
    $("trouble-next").textContent = say(p.next);
  },
};

function drawResult(s) {
  const r = state.receipt, overall = r ? r.overall : "unknown", box = $("result");
  box.dataset.overall = overall;
  box.querySelector(".glyph").setAttribute("class", `glyph ${overall}`);
  $("result-glyph").setAttribute("href", `#g-${overall}`);
  $("result-verdict").textContent = t(`verdict.${overall}_kiosk`);
  $("result-amount").textContent = r ? yuan(r.amount) : "";
  const words = r ?? state.lost;
  const shown = words?.money ? say(words.money) : t("lost.money");
  $("result-money").textContent = r?.account ? shown.replaceAll(r.account, masked(r.account)) : shown;
  const slip = r?.slip, picture = r && state.noPaper ? `/api/v1/transactions/${r.id}/slip.svg?screen=kiosk` : "";
  const offer = overall === "done" && slip && !picture && ["none", "not_printed"].includes(slip.state);
  $("print").hidden = !offer;
  $("print").disabled = state.printing;
  $("print").textContent = t(state.printing ? "kiosk.printing" : "kiosk.print");
  const thanks = offer ? "kiosk.take_either" : slip && !picture && ["printing", "printed"].includes(slip.state) ? "kiosk.take_both" : "kiosk.take_card";
  $("result-next").textContent = overall === "done" ? t(thanks) : words?.next ? say(words.next) : t("lost.next_kiosk");
  $("result-reason").textContent = r?.reason ? say(r.reason.sentence) : "";
  facts($("result-facts"), r ? [
    [t("slip"), r.id], [t("kiosk.to"), r.account ? `${masked(r.account)}${r.account_seen === "typed" ? ` · ${t("not_verified")}` : ""}` : ""],
    [t("card.after"), r.balance === null ? "" : yuan(r.balance)]] : []);
  $("ask-again").hidden = Boolean(r);
  $("result-finish").textContent = t(overall === "unknown" ? "kiosk.noted" : "finish");
  // The picture stands in for the paper; whether there is one is the server's to say.
  if ($("slip").getAttribute("src") !== picture) {
    $("slip-shown").hidden = !picture;
    if (picture) $("slip").src = picture; else $("slip").removeAttribute("src");
  }
  $("slip-caption").textContent = t(state.wanted ? "kiosk.slip_instead" : "kiosk.slip_shown");
  $("slip").alt = r ? `${t("slip")} ${r.id}` : "";
}
$("slip").addEventListener("error", () => { $("slip-shown").hidden = true; });

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

// go is one step on, or back.
function go(name) {
  state.view = name;
  state.refusal = null;
  draw();
}

// lookUp fetches the bill of an account.
function lookUp(account, known) {
  trying(async () => {
    const from = state.view, card = state.status.card.number, bill = await call("GET", `/api/v1/accounts/${account}`);
    if (state.view !== from || state.status.card.number !== card) return; // the card left meanwhile
    Object.assign(state, { bill, known, account, just: null });
    if (bill.seen === "typed" && !known) state.asking = true;
    else { state.again = bill.seen === "typed" ? account : ""; state.view = "bill"; }
  });
}

$("pay-other").addEventListener("click", () => { Object.assign(state, { account: "", again: "", asking: false, known: false, just: null }); go("account"); });
$("see-history").addEventListener("click", () => trying(async () => {
  const log = (await call("GET", "/api/v1/card/history")).records;
  if (state.view !== "choose") return;
  state.log = log;
  state.view = "history";
}));
$("account-next").addEventListener("click", () => {
  if (!state.asking) { lookUp(state.account, false); return; }
  if (state.again === state.account) { go("bill"); return; }
  state.again = state.account = "";
  state.asking = false;
  state.refusal = advice("refusal.account_mismatch");
  draw();
});
$("pay-owed").addEventListener("click", () => { state.amount = plain(state.bill.owed); state.whole = true; go("confirm"); });
$("pay-all").addEventListener("click", () => { state.amount = plain(state.status.card.balance); state.whole = true; go("confirm"); });
$("other-amount").addEventListener("click", () => { state.amount = ""; state.whole = false; go("amount"); });
const plain = (f) => yuan(f).replace(/[¥,]/g, "");
$("amount-next").addEventListener("click", () => {
  if (fen(state.amount) <= (state.status.card.balance ?? 0)) { go("confirm"); return; }
  state.refusal = advice("refusal.balance_low");
  draw();
});
$("confirm-pay").addEventListener("click", pay);
$("ask-again").addEventListener("click", pay);

async function pay() {
  if (state.busy || state.status.busy) return;
  let body = state.lost?.body;
  if (!body) {
    const c = state.status.card;
    body = { card: c.number, account: state.bill.account, amount: fen(state.amount), balance: c.balance };
    if (state.bill.seen === "typed") body.again = state.again;
    if (noPaper(state.status)) body.no_slip = true;
  }
  state.busy = state.paying = true;
  state.refusal = null;
  state.view = "confirm";
  draw();
  try {
    const r = await money("/api/v1/redemptions", body);
    state.receipt = r;
    state.lost = null;
    show(r);
  } catch (e) {
    if (e instanceof Refused && e.body.code !== "uncertain") {
      state.refusal = e.body;
      state.lost = null;
      if (e.body.code === "login_needed") again();
    } else {
      state.lost = { body, ...(e instanceof Refused ? e.body : {}) };
      state.view = "result";
      beep("unknown");
    }
  } finally {
    state.busy = state.paying = false;
    state.idle = 0;
    accept(state.status); // the card may have left meanwhile
  }
}

const before = { account: () => "choose", history: () => "choose", bill: () => (state.known ? "choose" : "account"), amount: () => "bill", confirm: () => (state.whole ? "bill" : "amount") };
for (const b of $$("[data-step-back]")) b.addEventListener("click", () => {
  if (state.view === "account" && state.asking) { state.asking = false; state.again = ""; draw(); return; }
  const to = before[state.view]();
  if (to === "account") { state.asking = false; state.again = ""; }
  go(to);
});
// The slip of what is done, for who wants it. It comes once: every other is a
// copy, marked and counted, which the counter prints.
$("print").addEventListener("click", async () => {
  const r = state.receipt;
  if (state.printing || !r) return;
  state.printing = true;
  draw();
  let slip = null;
  try { slip = await call("POST", `/api/v1/transactions/${r.id}/print`, { lang }); } catch { /* no paper, or no answer */ }
  if (state.receipt !== r) return; // somebody finished meanwhile
  Object.assign(state, { printing: false, idle: 0 });
  if (slip) r.slip = slip;
  if (!slip || !["printed", "printing"].includes(slip.state)) state.wanted = state.noPaper = true; // what paper can't give the screen can
  if (!state.status.card.number && goes()) bye(); // the card was taken meanwhile
  else draw();
});
$("end").addEventListener("click", leave);
$("result-finish").addEventListener("click", leave);
$("go-on").addEventListener("click", () => { clear("attract"); arrive(); draw(); });

// leave forgets the person and asks for the card to be taken. How they want
// the screen stays until the card is out.
function leave() {
  const inside = state.status.card.state !== "none" && state.status.card.state !== "no_reader";
  if (inside) { clear("take"); beep("take"); } else forget("attract");
  draw();
}

// timed says on which views a minute without a touch asks, and no answer
// forgets everything. Never while a card is being written, and never while
// nobody knows yet how a payment ended.
const timed = (name) => [...personal, "result"].includes(name) && !state.busy && !state.status?.busy && !state.lost;

setInterval(() => {
  const s = state.status;
  if (!s || state.cut) return;
  const { idle, more } = patience();
  state.idle++;
  if (timed(state.view)) {
    if (state.idle >= idle + more) leave();
    else if (state.idle >= idle) draw();
  } else if (state.view === "take") {
    if (state.idle >= ALARM && state.idle % 3 === 0) beep("alarm");
    if (state.idle === ALARM) draw();
  } else if (state.view === "trouble") {
    if (state.idle >= idle) leave(); // a card that is no use here is forgotten as well
  } else if (state.view === "attract") {
    if (state.idle === idle) { forget("attract"); draw(); }
  } else state.idle = 0;
}, 1000);
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { if (state.view !== "take" && (state.idle < patience().idle || !timed(state.view))) state.idle = 0; }, true);
$("more-time").addEventListener("click", () => { state.idle = 0; draw(); });
addEventListener("keydown", (e) => {
  const pad = state.view === "account" || state.view === "amount" ? state.view : null;
  if (!pad || state.busy || !$("still").hidden) return;
  if (/^[0-9.]$/.test(e.key) && !(pad === "account" && e.key === ".")) press(pad, e.key);
  else if (e.key === "Backspace") press(pad, "back");
});
addEventListener("contextmenu", (e) => e.preventDefault());

onLanguage(() => { drawPads(); draw(); });
drawPads();
draw();
live("kiosk", accept, (c) => { if (state.cut !== c && !state.paying) { state.cut = c; if (!c && state.view === "closed") clear("attract"); draw(); } });
