// The clerk's counter: the screen's state, its drawing and what moves value.
// State is what the server said and what was typed; draw shows it all, in
// whichever language. Other parts of the page add their views to it.
import { $, $$, t, say, onLanguage, yuan, fen, time, age, call, money, live, beep, facts, glyph, el, view, Refused, advice } from "./common.js";

export const state = {
  status: null, cut: false, view: "home", mode: "topup",
  refusal: null, receipt: null, lost: null, list: [], bill: null, log: [], shift: null,
  pending: null, // what the confirm view is about
  busy: false, card: "",
};
export const form = (name) => document.querySelector(`form[data-view="${name}"]`);
const loginForm = $("login").querySelector("form");

// MOST is more than a field takes: seven digits of yuan.
const MOST = 9_999_999_99;
const huge = (field) => /^\d{8,}(\.\d*)?$/.test(field.value.trim());
// wanting says what a field without an amount lacks, or how much it may hold.
const wanting = (field, most) => (huge(field) ? t("clerk.too_much", { limit: yuan(most) }) : t(field.value.trim() ? "clerk.bad_amount" : "clerk.type_amount"));
// tooMuch refuses here what is far beyond a limit, in the words that the terminal has for it.
function tooMuch(field, key, most) {
  if (!huge(field)) return false;
  const words = advice(key);
  for (const part of Object.values(words)) for (const l of Object.keys(part)) part[l] = part[l].replace("{limit}", yuan(most));
  state.refusal = { code: key.split(".")[1], ...words };
  draw();
  return true;
}

const BIG = 20000; // fen: above, the commit key isn't the default

export function go(name) {
  if (name === "confirm") state.from = state.view;
  state.view = name;
  state.refusal = null;
  draw();
  const shown = document.querySelector(`[data-view="${name}"]`);
  const away = name === "confirm" && form("confirm").querySelector(".second").hidden; // Enter must not commit
  const field = [...shown.querySelectorAll("input")].find((e) => e.offsetParent);
  const button = [...shown.querySelectorAll("button.first"), ...shown.querySelectorAll("li button:enabled")].find((e) => e.offsetParent);
  (away ? $("confirm-back") : field ?? button)?.focus();
  if (!field) $("stage").scrollTop = 0;
}
export const home = () => { state.receipt = state.lost = state.pending = state.bill = state.owed = null; go("home"); };
// back leaves a question for the form that it is about, and all else for the first view.
const back = () => (state.view === "confirm" && form(state.from) ? go(state.from) : home());

// ahead is the key that a quick hand pressed at the first view while the page
// waited for an answer. It is done after that, unless something else came up
// meanwhile. Everywhere else, and of what prints, a second press is a slip.
let ahead = {};

// trying runs a call and shows a refusal where the person is.
export async function trying(fn) {
  if (state.busy) return;
  state.busy = true;
  state.refusal = null;
  draw();
  try {
    await fn();
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    state.refusal = e.body;
    if (e.body.code === "locked" || e.body.code === "login_needed") await refresh();
  } finally {
    state.busy = false;
    draw();
    const { key, view } = ahead;
    ahead = {};
    if (key && view === state.view && !state.refusal) press(key);
  }
}

// moving runs a money call to one of three ends, or to "nobody here knows".
function moving(path, body, sent = {}) {
  return trying(async () => {
    try {
      show(await money(path, body), sent);
    } catch (e) {
      if (e instanceof Refused && e.body.code !== "uncertain") {
        if (e.body.code === "printer") e.body.without = { path, body: { ...body, no_slip: true } };
        if (state.view === "confirm" && state.mode !== "void") state.view = ["topup", "sell"].includes(state.mode) ? "cash" : state.mode;
        throw e;
      }
      state.lost = { path, body, sent, words: e instanceof Refused ? e.body : null };
      state.receipt = null;
      state.view = "result";
      beep("unknown");
    } finally {
      loadList();
    }
  });
}

function show(receipt, sent = {}) {
  state.receipt = receipt;
  state.lost = null;
  state.sent = sent;
  state.view = "result";
  state.refusal = null;
  for (const n of ["cash", "redeem", "bill", "confirm"]) form(n).reset();
  beep(receipt.overall);
}

async function loadList() {
  try {
    state.list = (await call("GET", "/api/v1/transactions?limit=30")).transactions;
    // What stands on the screen as not certain is settled where it stands.
    const now = state.receipt?.overall === "unknown" && state.list.find((r) => r.id === state.receipt.id);
    if (now && now.overall !== "unknown") {
      state.receipt = now;
      if (state.view === "result") {
        draw();
        beep(now.overall);
        if (state.owed) $("cash-returned").focus(); // Enter books the cash, not "done"
      }
    }
  } catch { /* not logged in: the list stays as it is, hidden */ }
  draw();
}
// slipNow learns what became of a slip that was being printed when the page
// was told of it, once the printer has news.
let asked;
export function slipNow(of, path) {
  const last = state.status.printer?.last, news = `${path} ${last?.id} ${last?.state}`;
  if (of.slip?.state !== "printing" || !last || last.state === "printing" || asked === news) return;
  asked = news;
  call("GET", path).then((now) => {
    if (of.slip.state !== "printing") return; // printed by hand meanwhile
    of.slip = now.slip;
    draw();
  }, () => { asked = ""; });
}

// refresh asks for the status at once. An answer that an event overtook is
// older than what stands on the screen, and is asked for again.
let events = 0;
export async function refresh() {
  for (let n = 0; n < 3; n++) {
    const before = events, s = await call("GET", "/api/v1/status");
    if (before === events || n === 2) { accept(s); return; }
  }
}

let lockTimer, head = "";
function accept(s) {
  const before = state.status;
  state.status = s;
  clearTimeout(lockTimer);
  if (!needsLogin(s)) {
    lockTimer = setTimeout(refresh, s.session.locks_ms + 200);
    const h = `${s.epoch}-${s.head}-${s.session.staff}`;
    if (h !== head) { head = h; loadList(); }
  } else {
    state.list = [];
    head = "";
  }
  if (state.card && s.card.number !== state.card && ["cash", "redeem"].includes(state.view) && !state.busy) home();
  // A shift that another screen opened or closed: what was counted for the one
  // must not be taken for the other.
  if (state.view === "shift" && before && shiftOf(before) !== shiftOf(s) && !state.busy) home();
  state.card = s.card.number;
  draw();
  if (!before || (needsLogin(before) !== needsLogin(s) && needsLogin(s))) (loginForm.staff.options.length ? loginForm.pin : loginForm).focus?.();
}
const shiftOf = (s) => (s.till?.shift?.open ? s.till.shift.number : 0);
const needsLogin = (s) => s.session.role !== "clerk" || s.session.locked || s.session.change_pin;

// ---- drawing

const gauge = (name, text, level = "") => {
  $(name).textContent = text;
  $(name).title = text;
  document.querySelector(`[data-gauge="${name}"]`).dataset.level = level;
};

export function draw() {
  const here = document.activeElement, { testid, id } = here?.dataset ?? {};
  drawAll();
  // A list that was drawn anew has the keys where they were.
  if (here && !here.isConnected && (testid || id)) document.querySelector((testid ? `[data-testid="${testid}"]` : "") + (id ? `[data-id="${id}"]` : ""))?.focus({ preventScroll: true });
}
function drawAll() {
  const s = state.status;
  $("cut").hidden = !state.cut;
  $("working").hidden = !((state.busy && state.moving) || s?.busy);
  if (!s) return;
  $("terminal").textContent = s.terminal;
  $("shop").textContent = s.shop_name || s.shop;
  const locked = needsLogin(s);
  $("login").hidden = !locked;
  drawLogin(s);
  $("person").textContent = locked ? "" : s.session.name;
  $("lock").hidden = locked;
  drawRefusal($("login-refusal"), locked ? state.refusal : null);
  drawStrip(s);
  drawCard(s);
  drawList(s);
  view(state.view);
  drawRefusal($("refusal"), locked ? null : state.refusal, ["topup", "sell"].includes(state.mode) && state.view === "cash");
  $("no-slip").hidden = locked || !state.refusal?.without;
  views[state.view]?.(s);
}

// drawLogin asks who it is, or for a PIN of one's own when somebody else chose
// it.
function drawLogin(s) {
  const change = s.session.change_pin && !s.session.locked, select = loginForm.staff;
  $("login-title").textContent = t(change ? "people.own_title" : s.session.locked ? "login.locked" : "login.title");
  $("login-hint").textContent = t(change ? "people.own_hint" : "login.hint");
  $("login-enter").textContent = t(change ? "people.own_commit" : "login.enter");
  $("login-who").hidden = change;
  for (const e of loginForm.querySelectorAll("[data-change]")) e.hidden = !change;
  const list = s.people.map((p) => p.staff).join();
  if (s.people.length && select.dataset.list !== list) {
    const chosen = select.value || s.session.staff;
    select.dataset.list = list;
    select.replaceChildren(...s.people.map((p) => new Option(`${p.staff} · ${p.name}`, p.staff)));
    if (s.people.some((p) => p.staff === chosen)) select.value = chosen;
  }
  if (s.card_staff && select.dataset.card !== s.card_staff.staff) select.value = s.card_staff.staff;
  select.dataset.card = s.card_staff?.staff ?? "";
}

function drawRefusal(box, r, cash) {
  box.hidden = !r;
  if (!r) return;
  box.dataset.code = r.code;
  box.replaceChildren(
    el("p", "sentence", say(r.sentence) + (r.why ? ` ${say(r.why)}` : "")),
    el("p", "", say(r.money) + (cash ? ` ${t("clerk.cash_note")}` : "")),
    el("p", "next", say(r.next)));
}

function drawStrip(s) {
  const till = s.till;
  gauge("takings", till?.shift?.open ? yuan(till.shift.cash_in - till.shift.cash_out) : t("strip.no_shift"), till && !till.shift?.open ? "warn" : "");
  if (till) {
    const f = till.float, short = yuan(f.ceiling).replace(".00", "");
    document.querySelector('[data-gauge="float"]').hidden = !f.known;
    if (f.known) {
      $("float-age").textContent = t("strip.float_age", { age: age(f.as_of, s.now) });
      gauge("float", f.ceiling ? t("strip.float_ceiling", { amount: yuan(f.left), ceiling: short }) : yuan(f.left), f.left < s.limits.topup_min ? "bad" : f.left < Math.max(f.ceiling, s.limits.unsent_max) / 5 ? "warn" : "");
    }
    const a = till.allowance, room = Math.max(0, s.limits.unsent_max - till.unsent.value);
    const left = a.known ? Math.min(a.amount, room) : 0;
    gauge("allowance", a.known ? yuan(left) : t("strip.none"), !a.known || left < s.limits.topup_min ? "bad" : left < s.limits.unsent_max / 5 ? "warn" : "");
    const level = s.warnings.some((w) => w.code.startsWith("warn_unsent")) ? "warn" : "";
    gauge("unsent", till.unsent.count ? t("strip.unsent_value", { n: till.unsent.count, age: age(till.unsent.oldest, s.now) }) : t("strip.all_sent"), till.unsent.count >= s.limits.unsent_stop ? "bad" : level);
    gauge("unknown", till.unknown ? t("strip.items", { n: till.unknown }) : t("strip.no_items"), till.unknown ? "warn" : "");
  }
  const blocked = !["", "good"].includes(s.link.standing);
  gauge("link", blocked ? t(`standing.${s.link.standing}`) : t(s.link.online ? "strip.online" : "strip.offline"), blocked ? "bad" : s.link.online ? "" : "warn");
  gauge("reader", t(s.reader ? "strip.ok" : "strip.missing"), s.reader ? "" : "bad");
  const sams = s.psam.present && !s.psam.problem, loads = s.load_sam.present && !s.load_sam.problem;
  gauge("sam", t(!sams ? "strip.missing" : loads ? "strip.ok" : "strip.no_load_sam"), !sams ? "bad" : loads ? "" : "warn");
  const pr = s.printer;
  document.querySelector('[data-gauge="printer"]').hidden = !pr;
  if (pr) gauge("printer", t(pr.ready ? (pr.paper_low ? "strip.paper_low" : "strip.ok") : `strip.printer_${["paper_out", "cover_open"].includes(pr.state) ? pr.state : "bad"}`), pr.ready ? (pr.paper_low ? "warn" : "") : "bad");
  const skew = Math.round(s.link.skew_ms / 1000), slow = s.warnings.some((w) => w.code === "warn_clock");
  gauge("clock", slow ? t("strip.set_back") : Math.abs(skew) <= 60 ? t("strip.clock_ok", { now: s.now.slice(11, 16) }) : t("strip.skew", { s: `${skew > 0 ? "+" : ""}${skew}` }), slow || Math.abs(skew) > 60 ? "warn" : "");
  const words = [];
  if (s.stopped) words.push(t("refusal.stopped.sentence"), t("refusal.stopped.next"));
  else if (!s.link.online) words.push(t("clerk.offline", { age: s.link.last_sync ? age(s.link.last_sync, s.now) : "–", each: yuan(s.limits.offline_topup_max), left: $("allowance").textContent }));
  for (const w of s.warnings) words.push(say(w.sentence), say(w.next));
  $("banner").hidden = !words.length || needsLogin(s);
  $("banner").textContent = words.join(" ");
}

function drawCard(s) {
  const c = s.card, box = $("card");
  box.classList.toggle("empty", !c.last4);
  box.classList.toggle("trouble", Boolean(c.problem));
  $("card-state").textContent = t(c.stock ? "card.stock" : c.last4 ? (c.named ? "card.named" : "card.unnamed") : `card.state.${c.state}`);
  $("card-number").textContent = c.problem ? say(c.problem.sentence) : c.last4 ? `…${c.last4}` : t(`card.hint.${c.state}`);
  $("card-label").textContent = c.balance === null ? "" : t("card.balance");
  $("card-balance").textContent = c.balance === null ? "" : yuan(c.balance);
  box.dataset.state = c.state;
}

const sumOf = (r) => (r.kind === "sale" && r.child ? r.child.amount : r.amount);

function drawList(s) {
  const shift = s.till?.shift;
  const voided = new Set(state.list.filter((r) => r.kind === "void" && r.overall !== "not_done").map((r) => r.parent));
  const rows = state.list.filter((r) => r.kind !== "void_debit" && !(r.kind === "topup" && state.list.some((p) => p.child?.id === r.id)));
  $("recent").replaceChildren(...rows.map((r) => {
    const li = el("li"), row = el("button", "row");
    row.type = "button";
    row.dataset.id = r.id;
    const sum = sumOf(r);
    row.append(glyph(r.overall), el("span", "what", t(`kind.${r.kind}`)), el("span", "sum", sum ? yuan(sum) : ""),
      el("span", "when", `${time(r.began, s.now)}${r.last4 ? ` · ${t("clerk.of_card", { last4: r.last4 })}` : r.account ? ` · ${t("clerk.of_account", { last4: r.account.slice(-4) })}` : ""} · ${t(`verdict.${r.overall}`)}${r.cash_returned ? ` · ${t("clerk.cash_back")}` : r.cash_owed || r.child?.cash_owed ? ` · ${t("clerk.cash_owed")}` : ""}${voided.has(r.id) ? ` · ${t("clerk.voided")}` : ""}`));
    row.addEventListener("click", () => { state.receipt = r; state.lost = null; state.sent = {}; go("result"); });
    li.append(row);
    if (r.kind === "topup" && r.result === "done" && !voided.has(r.id) && shift?.open && r.began >= shift.opened && s.session.rights.includes("void")) {
      const b = el("button", "", t("clerk.void"));
      b.type = "button";
      b.dataset.testid = "void";
      b.dataset.id = r.id;
      b.addEventListener("click", () => askVoid(r));
      li.append(b);
    }
    return li;
  }));
  $("recent-empty").hidden = rows.length > 0;
}

export const views = {
  home(s) {
    const open = s.till?.shift?.open;
    $("shift-label").textContent = t(open ? "clerk.close_shift" : "clerk.open_shift");
    $("do-shift").classList.toggle("first", !open);
    $("do-topup").classList.toggle("first", Boolean(open));
    const ready = s.card.state === "ready" && !s.card.stock;
    const settled = state.list.filter((r) => s.card.settled.includes(r.id));
    $("settled").hidden = !settled.length;
    $("settled").replaceChildren(...settled.map((r) => {
      const b = el("button", "settled");
      b.type = "button";
      b.append(glyph(r.overall), el("span", "", `${t("settled", { slip: r.id })} ${sumOf(r) ? `${yuan(sumOf(r))} · ` : ""}${say(r.sentence)}${r.cash_owed || r.child?.cash_owed ? ` ${t("clerk.cash_owed")}` : ""}`));
      b.addEventListener("click", () => { state.receipt = r; state.lost = null; state.sent = {}; go("result"); });
      return b;
    }));
    $("home-hint").textContent = !open ? t("clerk.hint_shift") : s.card.stock ? t("clerk.hint_stock") : ready ? t("clerk.hint_ready") : t("clerk.hint_card");
    for (const [id, right, on] of [["do-topup", "topup", open && ready], ["do-redeem", "redeem", open && ready], ["do-sell", "sell", open && s.card.stock], ["do-history", "", s.card.last4], ["do-shift", "settle", true]]) {
      $(id).disabled = Boolean((right && !s.session.rights.includes(right)) || !on || s.stopped);
    }
  },
  cash(s) {
    const f = form("cash"), sell = state.mode === "sell", deposit = sell ? s.limits.card_deposit : 0;
    $("cash-title").textContent = t(sell ? "clerk.sell_title" : "clerk.topup_title", { last4: s.card.last4 });
    $("deposit").hidden = !deposit;
    $("deposit").textContent = t("clerk.deposit", { amount: yuan(deposit) });
    const amount = f.amount.value === "" && sell ? 0 : fen(f.amount.value), tendered = fen(f.tendered.value);
    const change = amount === null || tendered === null ? null : tendered - amount - deposit;
    $("change").textContent = change === null ? "–" : change < 0 ? t("clerk.short", { amount: yuan(-change) }) : yuan(change);
    $("commit").textContent = amount === null ? wanting(f.amount, s.limits.topup_max) : t(sell ? "clerk.commit_sell" : "clerk.commit_topup", { amount: yuan(amount), last4: s.card.last4 });
    $("commit").disabled = (amount === null && !huge(f.amount)) || (!sell && amount === 0) || change < 0 || state.busy;
    f.querySelector(".pin").hidden = !["pin_needed", "pin_wrong"].includes(state.refusal?.code) && !f.pin.value;
  },
  redeem(s) {
    const f = form("redeem"), b = state.bill;
    f.querySelector(".again").hidden = b?.seen !== "typed";
    f.querySelector(".amount").hidden = !b;
    drawBill($("bill"), b, s);
    const amount = fen(f.amount.value);
    $("redeem-commit").textContent = !b ? t("clerk.look") : amount === null ? wanting(f.amount, s.limits.redeem_max) : t("clerk.commit_redeem", { amount: yuan(amount), last4: s.card.last4, account: b.account, owner: b.owner });
    $("redeem-commit").disabled = state.busy || Boolean(b && !amount && !huge(f.amount));
  },
  bill(s) {
    const f = form("bill"), b = state.bill, may = s.session.rights.includes("redeem") && s.till?.shift?.open;
    drawBill($("bill-shown"), b, s);
    const pays = Boolean(b && b.seen === "online" && may && !s.stopped);
    for (const e of f.querySelectorAll(".cash")) e.hidden = !pays;
    $("bill-hint").textContent = b ? t(pays ? "clerk.bill_hint" : s.link.online ? "" : "clerk.bill_offline") : "";
    const amount = fen(f.amount.value), tendered = fen(f.tendered.value);
    const change = amount === null || tendered === null ? null : tendered - amount;
    $("bill-change").textContent = change === null ? "–" : change < 0 ? t("clerk.short", { amount: yuan(-change) }) : yuan(change);
    $("bill-commit").textContent = !pays ? t("clerk.look") : amount === null ? wanting(f.amount, MOST) : t("clerk.commit_bill", { amount: yuan(amount), account: b.account, owner: b.owner });
    $("bill-commit").disabled = state.busy || (pays && (!amount || change < 0));
  },
  history(s) {
    $("history").tBodies[0].replaceChildren(...state.log.map((r) => {
      const tr = el("tr");
      tr.append(el("td", "", time(r.at, s.now)), el("td", "", t(`log.${r.kind}`)), el("td", "", r.here ? t("log.here") : r.terminal), el("td", "sum", yuan(r.amount)));
      return tr;
    }));
  },
  shift(s) {
    const open = s.till?.shift?.open;
    $("shift-title").textContent = t(open ? "clerk.close_shift" : "clerk.open_shift");
    $("shift-hint").textContent = open ? t("shift.blind") + (s.till.unsent.count ? ` ${t("shift.unsent", { n: s.till.unsent.count })}` : "") + (s.till.unknown ? ` ${t("shift.unknown", { n: s.till.unknown })}` : "") : t("shift.opening");
    $("shift-field").textContent = t("shift.counted");
    $("shift-commit").textContent = huge(form("shift").cash) ? wanting(form("shift").cash, MOST) : t(open ? "shift.close" : "shift.open");
    $("shift-commit").disabled = fen(form("shift").cash.value) === null || state.busy;
  },
  confirm(s) {
    const p = state.pending, isVoid = state.mode === "void";
    if (!p) return;
    $("confirm-title").textContent = t(isVoid ? "void.title" : p.title ?? "clerk.confirm_title");
    $("confirm-text").textContent = isVoid ? t("void.text", { amount: yuan(p.receipt.amount), last4: p.receipt.last4 }) : p.text();
    $("confirm-hint").textContent = t(isVoid ? "void.hint" : p.hint ?? "clerk.confirm_hint");
    $("confirm-commit").textContent = t(isVoid ? "void.commit" : "clerk.confirm_commit");
    $("confirm-commit").disabled = state.busy;
    const seconds = isVoid ? s.session.seconds : [];
    form("confirm").querySelector(".second").hidden = !seconds.length;
    const select = form("confirm").second;
    if (select.options.length !== seconds.length) select.replaceChildren(...seconds.map((p) => new Option(`${p.staff} · ${p.name}`, p.staff)));
  },
  result() {
    const r = state.receipt, box = $("result");
    const overall = r ? r.overall : "unknown";
    box.dataset.overall = overall;
    box.querySelector(".glyph").setAttribute("class", `glyph ${overall}`);
    $("result-glyph").setAttribute("href", `#g-${overall}`);
    $("result-verdict").textContent = t(`verdict.${overall}`);
    $("ask-again").hidden = Boolean(r);
    const words = r ?? state.lost?.words;
    $("result-sentence").textContent = words ? say(words.sentence) : t("lost.sentence");
    $("result-money").textContent = words ? say(words.money) : t("lost.money");
    $("result-next").textContent = words ? say(words.next) : t("lost.next");
    const part = r?.child ?? r;
    $("result-amount").textContent = part?.amount ? yuan(part.amount) : "";
    const reason = part?.reason ?? r?.reason;
    $("result-reason").textContent = reason ? [say(reason.sentence), say(r.utility), r.overall === "done" ? "" : say(reason.money), r.overall === "not_done" ? say(reason.next) : ""].join(" ") : "";
    const owed = part && (part.cash_owed ? part : null);
    state.owed = owed;
    $("cash-returned").hidden = !owed;
    const slip = r?.slip, came = slip && ["printed", "printing"].includes(slip.state);
    if (r) slipNow(r, `/api/v1/transactions/${r.id}`);
    $("print").hidden = !slip || !state.status.printer || (came && !state.status.session.rights.includes("reprint")) || slip.state === "printing";
    $("print-label").textContent = came ? t("clerk.reprint", { n: slip.copy + 1 }) : t("clerk.print_slip");
    const change = part && r.overall === "done" && part.tendered ? part.tendered - part.amount : 0;
    facts($("result-facts"), r ? [
      [t("slip"), r.id], [t("clerk.account"), r.account ? `${r.account}${r.account_seen === "typed" ? ` · ${t("not_verified")}` : ""}` : ""],
      [t("clerk.change"), change > 0 ? yuan(change) : ""],
      [t("clerk.paper"), slip ? say(slip.words) : ""],
      [t("card.after"), part.balance === null ? "" : yuan(part.balance)],
      [t("clerk.when"), `${time(r.began, state.status.now)}${r.actor.kind === "clerk" ? ` · ${r.actor.id}` : ` · ${t(`actor.${r.actor.kind}`)}`}`],
    ] : []);
  },
};

function drawBill(box, b, s) {
  box.hidden = !b;
  if (!b) return;
  if (b.seen === "typed") { box.replaceChildren(el("p", "", t("bill.typed"))); return; }
  box.replaceChildren(
    el("p", "label", `${b.account} · ${b.owner}`),
    el("p", "huge", b.owed > 0 ? t("bill.owed", { amount: yuan(b.owed) }) : t("bill.ahead", { amount: yuan(b.balance) })),
    el("p", "hint", t(b.seen === "online" ? "bill.online" : "bill.cached", { time: time(b.as_of, s.now) })));
}

// ---- doing

function start(mode) {
  state.mode = mode;
  state.bill = null;
  for (const n of ["cash", "redeem", "bill", "confirm"]) form(n).reset();
  go(mode === "topup" || mode === "sell" ? "cash" : mode);
}

function askVoid(r) {
  state.mode = "void";
  form("confirm").reset();
  state.pending = { receipt: r };
  go("confirm");
}

function cashBody() {
  const f = form("cash");
  const body = { card: state.status.card.number, amount: fen(f.amount.value || "0"), tendered: fen(f.tendered.value) };
  if (f.pin.value) body.pin = f.pin.value;
  return { path: state.mode === "sell" ? "/api/v1/sales" : "/api/v1/topups", body };
}

// commit sends at once, or asks first when the amount is large. text says in
// the present language what will be done, as the button that was pressed does.
export function commit(path, body, text) {
  if (body.amount > BIG) {
    const [shown, button] = { redeem: ["redeem", "redeem-commit"], bill: ["bill", "bill-commit"] }[state.mode] ?? ["cash", "commit"];
    state.pending = { path, body, text: text ?? (() => { views[shown](state.status); return $(button).textContent; }) };
    go("confirm");
    return;
  }
  send(path, body);
}
export async function send(path, body) {
  state.moving = true;
  try { await moving(path, body); } finally { state.moving = false; draw(); }
  // A second Enter of the same hand must not throw the result away.
  setTimeout(() => $("finish").offsetParent && [...$("result").querySelectorAll("button.first")].find((b) => b.offsetParent).focus(), 700);
}

form("cash").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("cash"), deposit = state.mode === "sell" ? state.status.limits.card_deposit : 0;
  if (tooMuch(f.amount, "refusal.topup_max", state.status.limits.topup_max)) return;
  const amount = fen(f.amount.value || (state.mode === "sell" ? "0" : ""));
  if (amount === null || state.busy) return;
  if (f.tendered.value === "" || document.activeElement === f.amount) {
    fill(f.tendered, amount + deposit);
    f.tendered.focus();
    f.tendered.select();
    draw();
    return;
  }
  if ($("commit").disabled) return;
  const { path, body } = cashBody();
  commit(path, body);
});

form("redeem").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("redeem");
  if (state.busy) return;
  if (!state.bill || state.bill.account !== f.account.value) {
    look(f.account.value, () => {
      const b = state.bill;
      if (!f.amount.value && b.owed > 0) f.amount.value = yuan(Math.min(b.owed, state.status.card.balance ?? 0)).replace(/[¥,]/g, "");
      draw();
      const next = b.seen === "typed" ? f.again : f.amount;
      next.focus();
      next.select();
    });
    return;
  }
  if (tooMuch(f.amount, "refusal.redeem_max", state.status.limits.redeem_max)) return;
  const amount = fen(f.amount.value);
  if (!amount) { f.amount.focus(); return; }
  if (state.bill.seen === "typed" && document.activeElement === f.again) { f.amount.focus(); return; }
  const body = { card: state.status.card.number, account: f.account.value, amount };
  if (state.bill.seen === "typed" && /^\d{10}$/.test(f.again.value)) body.again = f.again.value;
  commit("/api/v1/redemptions", body);
});

form("bill").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("bill");
  if (state.busy) return;
  if (!state.bill || state.bill.account !== f.account.value || !f.amount.offsetParent) {
    look(f.account.value, () => {
      if (!f.amount.value && state.bill.owed > 0) f.amount.value = plain(state.bill.owed);
      draw();
      if (f.amount.offsetParent) { f.amount.focus(); f.amount.select(); }
    });
    return;
  }
  const amount = fen(f.amount.value), tendered = fen(f.tendered.value);
  if (!amount) { f.amount.focus(); return; }
  if (tendered === null || document.activeElement === f.amount) {
    fill(f.tendered, amount);
    draw();
    f.tendered.focus();
    f.tendered.select();
    return;
  }
  if (!$("bill-commit").disabled) commit("/api/v1/bills", { account: state.bill.account, amount, tendered });
});
const plain = (f) => yuan(f).replace(/[¥,]/g, "");
// fill proposes the exact cash. A proposal was not typed: it goes when the
// amount changes, else a cash that is short would hold up Enter.
function fill(field, sum) {
  if (field.value !== "") return;
  field.value = plain(sum);
  field.dataset.proposed = field.value;
}
for (const f of [form("cash"), form("bill")]) {
  f.amount.addEventListener("input", () => { if (f.tendered.value === f.tendered.dataset.proposed) f.tendered.value = ""; });
  f.tendered.addEventListener("input", () => delete f.tendered.dataset.proposed);
}
function look(number, then) {
  return trying(async () => {
    if (!/^\d{10}$/.test(number)) {
      throw new Refused({ code: "bad_account", ...advice("bill.ten") });
    }
    state.bill = await call("GET", `/api/v1/accounts/${number}`);
  }).then(() => state.bill && then?.());
}

form("confirm").addEventListener("submit", (e) => {
  e.preventDefault();
  const p = state.pending, f = form("confirm");
  if (!p || state.busy) return;
  if (state.mode === "void") {
    const body = state.status.session.seconds.length ? { second: f.second.value, second_pin: f.second_pin.value } : {};
    f.second_pin.value = "";
    send(`/api/v1/transactions/${p.receipt.id}/void`, body);
  } else {
    send(p.path, p.body);
  }
});

form("shift").addEventListener("submit", (e) => {
  e.preventDefault();
  const cash = fen(form("shift").cash.value), open = state.status.till?.shift?.open;
  if (cash === null) return;
  trying(async () => {
    if (open) state.report = await money("/api/v1/shift/close", { counted: cash, number: state.status.till.shift.number });
    else await call("POST", "/api/v1/shift/open", { cash });
    form("shift").reset();
    state.view = !open ? "home" : state.report.reason_needed ? "difference" : "report";
    await refresh();
  }).then(() => { if (!state.refusal) go(state.view); });
});

// prints says what F1 prints in a view.
export const prints = { result: () => $("print").offsetParent && print() };
export const keys = {
  F2: () => start("topup"),
  F3: () => start("redeem"),
  F4: () => start("sell"),
  F6: () => start("bill"),
  F7: () => trying(async () => { state.log = (await call("GET", "/api/v1/card/history")).records; state.view = "history"; }),
  F8: () => { form("shift").reset(); go("shift"); },
  F1: () => (prints[state.view] ?? withoutSlip)(),
  F9: () => (state.view === "result" ? state.owed && send(`/api/v1/transactions/${state.owed.id}/cash-returned`, {}) : go("more")),
  F10: () => trying(async () => { await call("POST", "/api/v1/logout", {}); state.receipt = state.bill = null; state.view = "home"; await refresh(); }),
};
// withoutSlip asks for what the printer held up once more, to be done without
// paper. The wish lives and dies with its refusal.
function withoutSlip() {
  const w = state.refusal?.without;
  return w && send(w.path, w.body);
}
// print prints the slip of what is shown, again when it came out before.
function print() {
  return trying(async () => {
    const r = state.receipt;
    r.slip = await call("POST", `/api/v1/transactions/${r.id}/print`, { lang: document.documentElement.lang });
  });
}
const homeKeys = { F2: "do-topup", F3: "do-redeem", F4: "do-sell", F7: "do-history", F8: "do-shift" };

// shown tells whether the present view has a button of that key.
const shown = (key) => document.querySelector(`[data-view="${state.view}"] [data-key="${key}"]`)?.offsetParent;

function press(key) {
  if (state.busy && !state.moving && state.view === "home" && key !== "F1") ahead = { key, view: state.view };
  if (state.busy || !$("login").hidden || !$("working").hidden) return;
  if (!["F1", "F10"].includes(key) && !(key === "F9" && (state.view === "result" || shown(key))) && state.view !== "home") {
    if (state.view === "result" && state.owed) return; // first the cash
    home();
  }
  if (homeKeys[key] && $(homeKeys[key]).disabled) return;
  keys[key]();
}
for (const b of $$("[data-key]")) b.addEventListener("click", () => press(b.dataset.key));
for (const b of $$("[data-back]")) b.addEventListener("click", () => !state.busy && back());
for (const b of $$("[data-yuan]")) {
  b.addEventListener("click", () => {
    const f = form("cash");
    f.amount.value = b.dataset.yuan;
    f.tendered.value = "";
    f.amount.focus();
    f.requestSubmit();
  });
}
addEventListener("keydown", (e) => {
  if (keys[e.key]) {
    e.preventDefault();
    press(e.key);
  } else if (e.key === "Escape" && !state.busy && $("login").hidden && $("working").hidden) {
    back();
  }
});
// A Chinese keyboard may be left at full width.
addEventListener("input", (e) => {
  if (e.target.inputMode && !e.isComposing && /[\uFF0E\uFF10-\uFF19]/.test(e.target.value)) e.target.value = e.target.value.normalize("NFKC");
}, true);
for (const f of $$("form")) f.addEventListener("input", () => { if (f === form("redeem") && state.bill && f.account.value !== state.bill.account) state.bill = null; if (state.refusal?.without) state.refusal = null; draw(); });
$("ask-again").addEventListener("click", () => state.lost && send(state.lost.path, state.lost.body));

loginForm.addEventListener("submit", (e) => {
  e.preventDefault();
  const f = loginForm, pin = f.pin.value, change = !f.next.closest("label").hidden;
  const [path, body] = change ? ["/api/v1/pin", { old: pin, pin: f.next.value, again: f.again.value }] : ["/api/v1/login", { staff: f.staff.value, pin }];
  f.pin.value = f.next.value = f.again.value = "";
  trying(async () => {
    await call("POST", path, body);
    await refresh();
    reopen();
    if (!needsLogin(state.status)) go("home");
  }).then(() => (state.refusal || needsLogin(state.status)) && f.pin.focus());
});

// What a person does keeps the session open.
let touched = Date.now();
for (const kind of ["keydown", "pointerdown"]) {
  addEventListener(kind, () => {
    if (!state.status || needsLogin(state.status) || Date.now() - touched < 20000) return;
    touched = Date.now();
    call("POST", "/api/v1/touch", {}).then(refresh, refresh);
  });
}
addEventListener("beforeunload", (e) => { if (state.busy && state.moving) e.preventDefault(); });

let reopen;
// begin shows the page once all its parts are there.
export function begin() {
  onLanguage(draw);
  reopen = live("clerk", (s) => { events++; accept(s); }, (c) => { if (state.cut !== c) { state.cut = c; draw(); } });
}
