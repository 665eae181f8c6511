// "Ask the utility now": what is not certain is asked about at once, under its
// own name. Nothing is begun by it.
import { $, call, advice, beep } from "./common.js";
import { state, draw, views, trying, keys } from "./counter.js";

const open = () => (state.view === "result" && !state.owed && state.receipt?.overall === "unknown" ? state.receipt : null);

function ask() {
  const r = open();
  return trying(async () => {
    const now = await call("POST", `/api/v1/transactions/${r.id}/ask`, {});
    if (now.overall === "unknown") {
      state.refusal = { code: "still_unknown", ...advice("inquire.still") };
      return;
    }
    state.receipt = now;
    beep(now.overall);
  }).then(() => {
    draw();
    (state.owed ? $("cash-returned") : $("finish")).focus({ preventScroll: Boolean(state.refusal) });
    if (state.refusal) $("stage").scrollTop = 0; // what it says stands at the top
  });
}
const f9 = keys.F9;
keys.F9 = () => (open() ? ask() : f9());
const result = views.result;
views.result = (s) => {
  result(s);
  $("inquire").hidden = !open();
  $("inquire").disabled = state.busy;
};
