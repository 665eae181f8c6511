// What every screen needs: words, amounts, calls, and the live status.

const texts = JSON.parse(document.getElementById("messages").textContent);
export let lang = document.documentElement.lang;

export const $ = (id) => document.querySelector(`[data-testid="${id}"]`);
export const $$ = (selector) => [...document.querySelectorAll(selector)];

// t gives the text of a key with its {name} marks filled.
export function t(key, fill = {}) {
  const s = texts[lang][key] ?? key;
  return s.replace(/\{(\w+)\}/g, (mark, name) => fill[name] ?? mark);
}

// both gives a text in every language, as the server sends words.
export const both = (key) => Object.fromEntries(Object.entries(texts).map(([l, m]) => [l, m[key]]));

// advice gives the three sentences of a refusal.
export const advice = (key) => Object.fromEntries(["sentence", "money", "next"].map((k) => [k, both(`${key}.${k}`)]));

// say picks the language of words that the server sent.
export const say = (words) => (words ? words[lang] : "");

// other is the language that a screen does not show.
export const other = () => (lang === "en" ? "zh-CN" : "en");

// useLanguage changes the words of a screen. Nothing is loaded again, so
// nothing that a person typed is lost.
export function useLanguage(next) {
  lang = next;
  document.documentElement.lang = lang;
  const u = new URL(location.href);
  u.searchParams.set("lang", lang);
  history.replaceState(null, "", u);
  for (const e of $$("[data-t]")) e.textContent = t(e.dataset.t);
  for (const a of $$("[data-lang-link]")) a.href = `${a.dataset.langLink}?lang=${lang}`;
  document.title = t(`title.${location.pathname.slice(1) || "home"}`);
}

// onLanguage redraws a screen after the language was changed.
export function onLanguage(redraw) {
  $("lang").addEventListener("click", () => { useLanguage(other()); redraw(); });
}

// inOther gives the text of a key in the other language.
export const inOther = (key) => texts[other()][key];

// yuan shows fen: ¥1,234.56. Amounts are whole numbers all the way.
export function yuan(fen) {
  const s = String(Math.abs(fen)).padStart(3, "0");
  const whole = s.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${fen < 0 ? "-" : ""}¥${whole}.${s.slice(-2)}`;
}

// fen reads yuan as a person types them, or gives null.
export function fen(text) {
  const m = /^(\d{1,7})(?:\.(\d{1,2}))?$/.exec(text.normalize("NFKC").trim());
  return m ? Number(m[1]) * 100 + Number((m[2] ?? "").padEnd(2, "0")) : null;
}

// time shows a moment, with the date when it is not today.
export function time(iso, now) {
  if (!iso) return "–";
  const [day, clock] = [iso.slice(0, 10), iso.slice(11, 16)];
  return now && now.slice(0, 10) === day ? clock : t("date", { month: Number(day.slice(5, 7)), day: Number(day.slice(8)), clock });
}

// age shows how long ago something was.
export function age(iso, now) {
  const min = Math.max(0, Math.floor((Date.parse(now) - Date.parse(iso)) / 60000));
  if (min < 60) return t("age.minutes", { n: min });
  if (min < 48 * 60) return t("age.hours", { n: Math.floor(min / 60) });
  return t("age.days", { n: Math.floor(min / 1440) });
}

export class Refused extends Error {
  constructor(body, status) {
    super(body.code);
    this.body = body;
    this.status = status;
  }
}

// call speaks to the server; it throws Refused for a refusal and anything
// else when no answer came.
export async function call(method, path, body, key) {
  const headers = { "Dianka-Screen": document.body.classList.contains("public") ? "kiosk" : "clerk" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const r = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const answer = await r.json();
  if (!r.ok) throw new Refused(answer, r.status);
  return answer;
}

// A key is born with the wish, not with the sending: the same wish asked
// again is the same sale, whatever happened to the first answer.
let wish = "", key = "";
export function keyFor(path, body) {
  const w = path + JSON.stringify(body);
  if (w !== wish) {
    wish = w;
    key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  }
  return key;
}
// fulfilled forgets the wish once its end is known: the next one is another.
export const fulfilled = () => { wish = key = ""; };

// money makes a call that moves value. No answer is asked for again under the
// same key; still none means that nobody here knows, and it throws.
export async function money(path, body) {
  const k = keyFor(path, body);
  for (let n = 1; ; n++) {
    try {
      const answer = await call("POST", path, body, k);
      fulfilled();
      return answer;
    } catch (e) {
      if (e instanceof Refused || n === 3) throw e;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

// live follows the terminal's status. cut(true) says that nothing was heard
// for two heartbeats; the browser keeps trying by itself.
export function live(screen, show, cut) {
  let source, timer;
  const heard = () => { clearTimeout(timer); timer = setTimeout(() => { cut(true); open(); }, 35000); };
  const open = () => {
    source?.close();
    source = new EventSource(`/api/v1/events?screen=${screen}`);
    source.addEventListener("status", (e) => { heard(); cut(false); show(JSON.parse(e.data)); });
    source.onerror = () => {
      cut(true);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 3000);
    };
    heard();
  };
  open();
  addEventListener("pagehide", () => source.close());
  return open;
}

// beep tells the outcomes apart by ear: two rising tones, one low, three
// equal; two falling ones remind of the card, and an alarm goes up and down.
export function beep(outcome) {
  const notes = { done: [660, 880], not_done: [220], unknown: [440, 440, 440], take: [784, 587], alarm: [988, 740, 988, 740, 988] }[outcome];
  const Audio = window.AudioContext;
  if (!notes || !Audio) return;
  const a = new Audio();
  notes.forEach((hz, i) => {
    const o = a.createOscillator(), g = a.createGain();
    o.frequency.value = hz;
    g.gain.value = 0.08;
    o.connect(g).connect(a.destination);
    o.start(a.currentTime + i * 0.22);
    o.stop(a.currentTime + i * 0.22 + 0.16);
  });
  setTimeout(() => a.close(), 1500);
}

// facts fills a definition list.
export function facts(list, pairs) {
  list.replaceChildren(...pairs.filter(([, v]) => v).flatMap(([k, v]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = k;
    dd.textContent = v;
    return [dt, dd];
  }));
}

// glyph makes the sign of an outcome.
export function glyph(outcome) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), use = document.createElementNS(ns, "use");
  svg.setAttribute("class", `glyph ${outcome}`);
  if (outcome === "card") svg.setAttribute("aria-hidden", "true"); // its words stand beside it
  else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", t(`verdict.${outcome}`));
  }
  use.setAttribute("href", `#g-${outcome}`);
  svg.append(use);
  return svg;
}

// text makes an element with text.
export function el(tag, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
}

// view shows one of the screen's views and hides the others.
export function view(name) {
  for (const v of $$("[data-view]")) v.hidden = v.dataset.view !== name;
}
