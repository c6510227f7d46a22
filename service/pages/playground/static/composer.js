/** The field for the next question, and the files that it is about. */
import { $, button, isComposing, make } from "./dom.js";
import { showFailure } from "./failures.js";
import { keptInTab } from "./kept.js";
import { present } from "./present.js";
import { Failure, callJson, owned } from "./service.js";
import { texts } from "./texts.js";

const MAX_UPLOAD = 10 * 1024 * 1024;
const MAX_QUESTION = 100_000; // characters

const [composer, question] = ["composer", "question"].map($);
let files = []; // { file, chip, id, url, upload }

/** `ask` is called with a question and its files. */
export function startComposer(ask) {
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
    if (present.running || $("send").disabled) return;
    const [text, about] = [question.value.trim(), files];
    question.value = "";
    files = [];
    $("files").replaceChildren();
    ask(text, about);
    changed();
    question.focus();
  });
  if (!question.value) question.value = keptInTab.get("draft") ?? ""; // some browsers keep it themselves
  changed();
}

addEventListener("pagehide", () => keptInTab.set("draft", question.value || null));

/** Puts a question back to be asked again, before what has been typed since. */
export function putBack(text, about) {
  question.value = [text, question.value].filter(Boolean).join("\n");
  for (const entry of about) entry.chip ??= chipOf(entry, sizeOf(entry.file));
  files = [...about, ...files];
  $("files").replaceChildren(...files.map(({ chip }) => chip));
  changed();
  question.focus();
}

export function discardFiles() {
  [...files].forEach(detach);
}

function refresh() {
  const { running, opening } = present;
  $("stop").hidden = !running;
  $("send").hidden = Boolean(running);
  // Coze takes no message of files alone.
  const { length } = question.value;
  $("send").disabled = Boolean(opening) || files.some((entry) => !entry.id) || !question.value.trim() || length > MAX_QUESTION;
  $("keys").textContent = length > MAX_QUESTION ? texts.tooLong(length, MAX_QUESTION) : files.length && !length ? texts.needsWords : texts.keys;
  $("keys").classList.toggle("bad", length > MAX_QUESTION);
  question.placeholder = files.length ? texts.askAbout : texts.placeholder;
}

/** Shows another text. The field is as high as that; to ask how high has the browser lay the page out. */
function changed() {
  refresh();
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

document.addEventListener("presentchange", refresh);
question.addEventListener("input", changed);
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
  event.preventDefault();
  composer.requestSubmit();
});

// Files

async function attach(file) {
  const refusal = file.size > MAX_UPLOAD ? texts.tooBig(file.name) : file.size === 0 ? texts.empty(file.name) : null;
  if (refusal) return showFailure(new Failure(texts.upload(file.name), { message: refusal }));
  const entry = { file, upload: new AbortController() };
  entry.chip = chipOf(entry, texts.uploading);
  files.push(entry);
  $("files").append(entry.chip);
  refresh();
  try {
    const form = new FormData();
    form.append("file", file);
    const request = { method: "POST", body: form, signal: entry.upload.signal };
    ({ file_id: entry.id, file_url: entry.url } = await callJson(owned("api/v1/upload"), request, `${file.name}, ${file.size} B`));
    entry.chip.querySelector(".about").textContent = sizeOf(file);
  } catch (error) {
    detach(entry);
    if (error.name === "AbortError") return;
    error.title = texts.upload(file.name);
    // What is wrong with the file is so each time.
    const mayPass = !error.status || error.status >= 500 || [401, 429].includes(error.status);
    showFailure(error, mayPass && button(texts.retry, () => attach(file)));
  }
  refresh();
}

/** A file as it stands in the composer, with its picture. */
function chipOf(entry, about) {
  const { file, url } = entry;
  const remove = button("✕", () => {
    detach(entry);
    question.focus();
  }, "button round");
  remove.ariaLabel = texts.remove(file.name);
  const chip = make("li", {}, make("span", { className: "name", text: file.name }), make("span", { className: "about", text: about }), remove);
  if (file.type.split("/")[0] === "image") {
    const picture = make("img", { alt: "", src: url ?? URL.createObjectURL(file), onerror: () => picture.remove() });
    chip.prepend(picture);
  }
  return chip;
}

function detach(entry) {
  entry.upload?.abort();
  entry.chip.remove();
  files = files.filter((other) => other !== entry);
  refresh();
}

function sizeOf(file) {
  if (!file.size) return ""; // of an earlier question
  return file.size < 1024 ? `${file.size} B` : file.size < 1048576 ? `${Math.round(file.size / 1024)} KiB` : `${(file.size / 1048576).toFixed(1)} MiB`;
}

$("file").addEventListener("change", (event) => {
  [...event.target.files].forEach(attach);
  event.target.value = "";
  question.focus();
});
question.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) event.preventDefault();
  [...event.clipboardData.files].forEach(attach);
});
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").hidden = type !== "dragover";
    if (type === "drop") [...event.dataTransfer.files].forEach(attach);
  });
}
