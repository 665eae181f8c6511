// The desk's control panel: the world around a simulated terminal, and what
// the utility knows of it.
import { $, $$, t, say, onLanguage, yuan, time, call, glyph, el, Refused } from "./common.js";

let desk = null, refused = null;

function draw() {
  $("refusal").hidden = !refused;
  if (refused) $("refusal").textContent = `${say(refused.sentence)} ${say(refused.next)} ${refused.detail ?? ""}`;
  if (!desk) return;
  const inside = desk.cards.find((c) => c.in);
  $("in-reader").textContent = inside ? t("desk.inside", { label: say(inside.label), last4: inside.last4 }) : t("desk.empty");
  $("take").disabled = !inside;
  $("cards").replaceChildren(...desk.cards.map((c) => {
    const li = el("li", c.in ? "in" : ""), words = el("div");
    words.append(el("b", "", say(c.label)), el("span", "label", `…${c.last4} · ${yuan(c.balance)}`));
    const b = el("button", "", t(c.in ? "desk.is_in" : inside ? "desk.swap" : "desk.put"));
    b.type = "button";
    b.disabled = c.in;
    b.dataset.testid = `put-${c.card}`;
    b.addEventListener("click", () => act(inside ? "swap" : "put", { card: c.card }));
    li.append(glyph("card"), words, b);
    return li;
  }));
  $("link").textContent = t(desk.link ? "strip.online" : "strip.offline");
  $("link-toggle").textContent = t(desk.link ? "desk.link_cut" : "desk.link_mend");
  $("clock").textContent = time(desk.clock);
  $("tear").textContent = t(desk.tear ? `desk.${desk.tear}` : "desk.no_tear");
  for (const b of $$("[data-tear]")) b.setAttribute("aria-pressed", String(b.dataset.tear === desk.tear));
  for (const e of $$("[data-printer-only]")) e.hidden = !desk.printer;
  $("printer").textContent = desk.printer ? t(`desk.printer_${desk.printer}`) : "";
  for (const b of $$("[data-printer]")) b.setAttribute("aria-pressed", String(b.dataset.printer === desk.printer));
  $("ledger-empty").hidden = desk.ledger.length > 0;
  $("ledger").replaceChildren(...desk.ledger.map((a) => {
    const box = el("section"), head = el("header"), table = el("table"), body = el("tbody");
    box.dataset.account = a.name;
    head.append(el("b", "", `${a.name}${a.owner ? ` · ${a.owner}` : ""}`), el("span", "sum", yuan(a.balance)));
    for (const l of a.lines) {
      const tr = el("tr"), kind = t(`kind.${l.what}`);
      tr.append(el("td", "", time(l.at, desk.clock)), el("td", "", kind.startsWith("kind.") ? l.what : kind), el("td", "label", l.slip), el("td", `sum ${l.amount > 0 ? "plus" : ""}`, `${l.amount > 0 ? "+" : ""}${yuan(l.amount)}`));
      body.append(tr);
    }
    table.append(body);
    box.append(head, table);
    return box;
  }));
}

let asked = 0;
async function act(what, body) {
  const n = ++asked;
  try {
    const answer = what ? await call("POST", `/sim/${what}`, body) : await call("GET", "/sim");
    if (n !== asked) return;
    desk = answer;
    if (what) refused = null;
  } catch (e) {
    if (e instanceof Refused) refused = e.body;
    else refused = { sentence: { "zh-CN": t("cut"), en: t("cut") }, next: { "zh-CN": "", en: "" } };
  }
  draw();
}

$("take").addEventListener("click", () => act("take", {}));
$("link-toggle").addEventListener("click", () => act("link", { up: !desk.link }));
for (const b of $$("[data-jump]")) b.addEventListener("click", () => act("clock", { seconds: Number(b.dataset.jump) }));
for (const b of $$("[data-tear]")) b.addEventListener("click", () => act("tear", { when: b.dataset.tear }));

for (const b of $$("[data-printer]")) b.addEventListener("click", () => act("printer", { state: b.dataset.printer }));

onLanguage(draw);
act();
setInterval(() => { if (!document.hidden) act(); }, 1500);
