// The settlement slip of a closed shift: what its takings owe the utility.
import { $, t, say, yuan, time, call, facts } from "./common.js";
import { state, go, views, trying, prints, keys } from "./counter.js";

const closed = () => (state.view === "report" && state.report?.difference != null && !state.report.partial ? state.report : null);
const open = () => trying(async () => { state.settlement = await call("GET", `/api/v1/shifts/${state.report.number}/settlement`); }).then(() => state.refusal || go("settlement"));

const f9 = keys.F9;
keys.F9 = () => (closed() ? open() : f9());
const report = views.report;
views.report = (s) => {
  report(s);
  $("report-settle").hidden = !closed();
};

views.settlement = (s) => {
  const r = state.settlement, slip = r.slip;
  $("settlement-title").textContent = t("settlement.title", { n: r.shift });
  $("settlement-net").textContent = yuan(r.net);
  const out = (v) => (v ? yuan(-v) : "");
  facts($("settlement-sums"), [
    [t("settlement.topups"), yuan(r.topups)], [t("settlement.voids"), out(r.voids)],
    [t("settlement.bills"), yuan(r.bills)], [t("settlement.claims"), out(r.claims)],
    [t("settlement.deposits"), yuan(r.deposits)], [t("settlement.returned"), out(r.returned)],
    [t("settlement.unknown"), r.unknown.count ? `${yuan(r.unknown.amount)} · ${t("report.items", { n: r.unknown.count })}` : ""],
    [t("settlement.owed"), r.owed.count ? `${yuan(r.owed.amount)} · ${t("report.items", { n: r.owed.count })}` : ""],
    [t("settlement.number"), r.number], [t("settlement.closed"), time(r.closed, s.now)],
  ]);
  $("settlement-print").hidden = !slip || slip.state === "printing";
  $("settlement-print-label").textContent = r.prints && slip?.state !== "not_printed" ? t("settlement.copy", { n: r.prints }) : t("settlement.print");
  $("settlement-paper").textContent = slip && slip.state !== "none" && slip.state !== "unknown" ? say(slip.words) : "";
};
prints.settlement = () => $("settlement-print").offsetParent && trying(async () => {
  state.settlement = await call("POST", `/api/v1/shifts/${state.settlement.shift}/settlement/print`, { lang: document.documentElement.lang });
});
