// Shifts and stock: what a shop counts.
import { $, t, say, yuan, time, call, money, facts, el } from "./common.js";
import { state, form, go, home, draw, views, trying, refresh, prints, slipNow } from "./counter.js";
import { addLines } from "./menu.js";

addLines(
  ["receive", "settle", false, () => stock("receive")],
  ["count", "settle", false, () => stock("count")],
  ["x", "settle", true, () => trying(async () => { state.report = await call("GET", "/api/v1/shift/report"); }).then(() => state.refusal || go("report"))],
  ["closings", "settle", false, () => trying(async () => { state.closings = (await call("GET", "/api/v1/shifts")).shifts; }).then(() => state.refusal || go("closings"))],
);

// ---- shifts

views.difference = () => {
  const r = state.report;
  $("difference-sum").textContent = t(r.difference > 0 ? "report.more_cash" : "report.less_cash", { amount: yuan(Math.abs(r.difference)) });
  facts($("difference-facts"), [[t("shift.counted"), yuan(r.counted)], [t("shift.expected"), yuan(r.expected)]]);
  const select = form("difference").cause;
  if (select.options.length !== r.reasons.length) select.replaceChildren(...r.reasons.map((c) => new Option("", c.code)));
  r.reasons.forEach((c, i) => { select.options[i].textContent = say(c.words); });
};
form("difference").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("difference");
  trying(async () => {
    const left = state.report.attention;
    state.report = await money(`/api/v1/shifts/${state.report.number}/difference`, { reason: f.cause.value, note: f.note.value });
    state.report.attention ??= left;
    f.reset();
    await refresh();
  }).then(() => state.refusal || go("report"));
});

views.report = () => {
  const r = state.report, closed = r.difference !== null;
  $("report-title").textContent = t(closed ? "report.z_title" : "report.x_title", { n: r.number });
  $("shift-sums").classList.toggle("uneven", closed && r.difference !== 0);
  const sums = closed ? [
    [t("shift.counted"), yuan(r.counted)], [t("shift.opening_cash"), yuan(r.opening_cash)],
    [t("shift.expected"), yuan(r.expected)], [t("shift.cash_in"), yuan(r.cash_in)],
    [t("shift.difference"), r.difference === 0 ? t("shift.even") : yuan(r.difference)], [t("shift.cash_out"), yuan(r.cash_out)],
  ] : [[t("shift.opening_cash"), yuan(r.opening_cash)], [t("shift.cash_in"), yuan(r.cash_in)], [t("shift.cash_out"), yuan(r.cash_out)]];
  for (const k of r.kinds) if (k.done || k.unknown) sums.push([say(k.words), `${yuan(k.amount)} · ${t("report.items", { n: k.done })}`]);
  for (const c of r.clerks) if (c.voids) sums.push([t("report.void_by", { name: c.name || c.staff }), `${yuan(c.void_amount)} · ${t("report.items", { n: c.voids })}`]);
  if (r.acts.reprint) sums.push([t("report.reprints"), t("report.items", { n: r.acts.reprint })]);
  if (r.reason) sums.push([t("report.cause"), say(r.reason.words) + (r.note ? ` · ${r.note}` : "")]);
  facts($("shift-sums"), sums);
  const slip = r.slip, came = closed && slip && ["printed", "printing", "unknown"].includes(slip.state);
  if (closed) slipNow(r, `/api/v1/shifts/${r.number}`);
  $("report-print").hidden = !slip || slip.state === "printing";
  $("report-print-label").textContent = came ? t("clerk.reprint", { n: slip.copy + 1 }) : t("clerk.print_slip");
  $("report-paper").textContent = slip && slip.state !== "none" && slip.state !== "unknown" ? say(slip.words) : "";
  const a = r.attention, left = [];
  if (r.unsent) left.push(t("report.left_unsent", { n: r.unsent }));
  for (const x of a?.unknown ?? []) left.push(t("report.left_unknown", { slip: x.id, amount: yuan(x.amount) }));
  for (const x of a?.owed ?? []) left.push(t("report.left_owed", { slip: x.id, amount: yuan(x.tendered) }));
  $("report-left").hidden = !left.length;
  $("report-left").replaceChildren(el("p", "label", t("report.left")), ...left.map((l) => el("p", "", l)));
};

prints.report = () => $("report-print").offsetParent && trying(async () => {
  const path = state.report.difference === null ? "shift/report" : `shifts/${state.report.number}`;
  state.report.slip = await call("POST", `/api/v1/${path}/print`, { lang: document.documentElement.lang });
});

views.closings = (s) => {
  $("closings").replaceChildren(...state.closings.map((r) => {
    const li = el("li"), b = el("button", "row");
    b.type = "button";
    b.append(el("b", "", t("report.closing", { n: r.number, time: time(r.closed, s.now) })), el("span", r.difference ? "bad" : "", r.difference ? yuan(r.difference) : t("report.even")));
    b.addEventListener("click", () => trying(async () => { state.report = await call("GET", `/api/v1/shifts/${r.number}`); }).then(() => state.refusal || go(r.reason_needed ? "difference" : "report")));
    li.append(b);
    return li;
  }));
};

// ---- stock

const digits = (f) => f.value.replace(/\D/g, "");
function stock(mode) {
  state.wish = mode;
  form("stock").reset();
  trying(async () => { state.packs = (await call("GET", "/api/v1/stock")).packs; }).then(() => state.refusal || go("stock"));
}
views.stock = (s) => {
  const f = form("stock"), receive = state.wish === "receive";
  $("stock-title").textContent = t(receive ? "stock.receive_title" : "stock.count_title");
  $("stock-hint").textContent = !receive && !state.packs.length ? t("stock.none") : t(receive ? "stock.receive_hint" : "stock.count_hint");
  for (const e of f.querySelectorAll(".receive")) e.hidden = !receive;
  // What stands there stays, so that a field does not lose its focus.
  const list = $("stock-packs"), about = (p) => `${t("stock.should", { n: p.left })}${p.count ? ` · ${t("stock.last_count", { n: p.count.found, time: time(p.count.at, s.now) })}` : ""}`;
  const stands = `${state.wish} ${state.packs.map((p) => p.id)}`;
  if (list.dataset.stands !== stands) {
    list.dataset.stands = stands;
    list.replaceChildren(...state.packs.map((p) => {
      const li = el("li"), label = el("label"), input = el("input");
      li.dataset.pack = p.id;
      li.append(el("b"), el("span"));
      if (!receive) {
        label.append(el("i"), input);
        input.inputMode = "numeric";
        input.maxLength = 4;
        input.dataset.testid = `found-${p.id}`;
        li.append(label);
      }
      return li;
    }));
  }
  state.packs.forEach((p, i) => {
    const li = list.children[i];
    li.querySelector("b").textContent = t("stock.pack", { from: p.from.slice(-8), to: p.to.slice(-8) });
    li.querySelector("span").textContent = about(p);
    if (!receive) li.querySelector("i").textContent = t("stock.found");
  });
  const [from, to] = [digits(f.from), digits(f.to)];
  const n = from.length === 20 && to.length === 20 ? BigInt(to) - BigInt(from) + 1n : 0n;
  $("stock-commit").textContent = receive ? (n > 0n ? t("stock.receive_n", { n }) : t("stock.receive")) : t("stock.count");
  $("stock-commit").disabled = state.busy || (receive ? from.length !== 20 || (to !== "" && n <= 0n) : !counted().length);
};
const counted = () => [...$("stock-packs").querySelectorAll("input")].filter((i) => /^\d+$/.test(i.value)).map((i) => ({ pack: i.closest("li").dataset.pack, found: Number(i.value) }));
form("stock").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("stock");
  if (state.wish === "receive" && f.to.value === "" && digits(f.from).length === 20) { f.to.focus(); return; } // a scanner ends with Enter
  if ($("stock-commit").disabled) return;
  trying(async () => {
    if (state.wish === "receive") await money("/api/v1/stock/receipts", { from: digits(f.from), to: digits(f.to) });
    else for (const c of counted()) await money("/api/v1/stock/counts", c);
    f.reset();
    delete $("stock-packs").dataset.stands;
    state.packs = (await call("GET", "/api/v1/stock")).packs;
  }).then(() => {
    draw();
    if (state.refusal) return;
    if (state.wish === "count") home();
    else f.from.focus();
  });
});
