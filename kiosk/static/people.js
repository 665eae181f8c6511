// Who works here, and what they did.
import { $, $$, t, time, call, el } from "./common.js";
import { state, form, go, draw, views, trying, refresh } from "./counter.js";
import { addLines } from "./menu.js";

addLines(
  ["people", "configure", false, () => trying(load).then(() => state.refusal || go("people"))],
  ["acts", "settle", false, () => trying(async () => { state.acts = (await call("GET", "/api/v1/acts?limit=200")).acts; }).then(() => state.refusal || go("acts"))],
);

async function load() { state.people = await call("GET", "/api/v1/staff"); }
const who = (p) => t("people.person", { number: p.staff, name: p.name });

// what is to be said of a person beside the name.
function about(p) {
  return [p.locked && t("people.locked"), p.configured && t("people.from_config"), p.change_pin && t("people.must_change"),
    p.card && t("people.by_card", { last4: p.card.slice(-4) }), !p.allowed && t("people.more_rights")].filter(Boolean).join(" · ");
}

views.people = () => {
  $("people").replaceChildren(...state.people.staff.map((p) => {
    const li = el("li"), b = el("button", "row");
    b.type = "button";
    b.dataset.testid = `person-${p.staff}`;
    b.append(el("b", "", who(p)), el("span", p.locked ? "bad" : "", about(p)));
    b.addEventListener("click", () => open(p));
    li.append(b);
    return li;
  }));
};
form("people").addEventListener("submit", (e) => { e.preventDefault(); open(null); });

// open shows a person, or the form for a new one.
function open(p) {
  state.person = p;
  form("person").reset();
  go("person");
}

views.person = (s) => {
  const f = form("person"), p = state.person, mine = p && p.allowed && !p.configured && !p.you;
  $("person-title").textContent = p ? who(p) : t("people.add_title");
  $("person-state").textContent = p ? [about(p), p.rights.map((r) => t(`right.${r}`)).join(" · ")].filter(Boolean).join(" — ") : "";
  for (const e of f.querySelectorAll(".new")) e.hidden = Boolean(p);
  f.querySelector(".pins").hidden = Boolean(p) && !mine;
  $("person-hint").textContent = f.querySelector(".pins").hidden ? "" : t("people.pin_hint");
  const rights = $("person-rights");
  if (rights.children.length === 1) {
    for (const r of state.people.rights) {
      const label = el("label"), box = el("input");
      box.type = "checkbox";
      box.name = "right";
      box.value = r;
      box.dataset.testid = `right-${r}`;
      label.append(box, el("span"));
      rights.append(label);
    }
  }
  for (const l of rights.querySelectorAll("label")) l.lastChild.textContent = t(`right.${l.firstChild.value}`);
  $("person-commit").hidden = f.querySelector(".pins").hidden;
  $("person-commit").textContent = p ? t("people.reset", { name: p.name }) : t("people.save", { name: f.name.value || "…" });
  $("person-commit").disabled = state.busy || !f.pin.value || !f.again.value || (!p && (!f.staff.value || !f.name.value));
  const tie = $("person-card"), here = s.card.state === "ready" && !s.card.stock && s.card.number;
  tie.hidden = !p || !p.allowed || p.configured || (!p.card && !here);
  tie.textContent = p?.card ? t("people.untie", { last4: p.card.slice(-4) }) : t("people.tie", { last4: s.card.last4 });
  $("person-lock").hidden = !p || !p.allowed;
  $("person-lock").textContent = t(p?.locked ? "people.unlock" : "people.lock");
  $("person-remove").hidden = !mine;
  $("person-remove").textContent = t("people.remove");
};

// change makes one change of a person and shows the list anew.
function change(what, body) {
  trying(async () => {
    await call("POST", what, body);
    await refresh();
    if (state.status.session.role === "clerk" && !state.status.session.locked) await load(); // who locks oneself is out
  }).then(() => state.refusal ? draw() : state.status.session.role === "clerk" && go("people"));
}
form("person").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = form("person"), p = state.person, pins = { pin: f.pin.value, again: f.again.value };
  if ($("person-commit").hidden || $("person-commit").disabled) return;
  f.pin.value = f.again.value = "";
  if (p) change(`/api/v1/staff/${p.staff}/pin`, pins);
  else change("/api/v1/staff", { staff: f.staff.value, name: f.name.value.trim(), rights: $$("[name=right]:checked").map((b) => b.value), ...pins });
});
$("person-lock").addEventListener("click", () => change(`/api/v1/staff/${state.person.staff}/${state.person.locked ? "unlock" : "lock"}`, {}));
$("person-remove").addEventListener("click", () => change(`/api/v1/staff/${state.person.staff}/remove`, {}));
$("person-card").addEventListener("click", () => change(`/api/v1/staff/${state.person.staff}/card`, { card: state.person.card ? "" : state.status.card.number }));

views.acts = (s) => {
  $("acts").tBodies[0].replaceChildren(...state.acts.map((a) => {
    const tr = el("tr");
    tr.append(el("td", "", time(a.at, s.now)), el("td", "", a.by), el("td", "", t(`act.${a.act}`) + (a.count > 1 ? ` ×${a.count}` : "")), el("td", "", a.staff === a.by ? "" : a.staff), el("td", "sum", a.about ?? ""));
    return tr;
  }));
};
