// Spoken prompts: a recording of the text when the shop has one, else the
// browser's own voice when it has one for the language, else nothing.

const recordings = new Set((document.body.dataset.prompts ?? "").split(" ").filter(Boolean));
let playing = null;

// hush ends what is being said.
export function hush() {
  playing?.pause();
  playing = null;
  window.speechSynthesis?.cancel();
}

// speak says the text of a key. It says texts only, never an amount, a name
// or a number: others stand around.
export function speak(key, lang) {
  hush();
  if (!key) return;
  const file = [".mp3", ".ogg", ".wav"].map((type) => `${lang}/${key}${type}`).find((name) => recordings.has(name));
  if (file) {
    playing = new Audio(`/prompts/${file}`);
    playing.play().catch(() => {}); // a browser may want a touch first
    return;
  }
  const voice = window.speechSynthesis?.getVoices().find((v) => v.lang.replace("_", "-").startsWith(lang.slice(0, 2)));
  if (!voice) return;
  const text = JSON.parse(document.getElementById("messages").textContent)[lang][key];
  const words = new SpeechSynthesisUtterance(text);
  words.voice = voice;
  words.lang = voice.lang;
  words.rate = 0.85;
  window.speechSynthesis.speak(words);
}
