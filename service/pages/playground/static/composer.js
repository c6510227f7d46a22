/** The field for the next question, and the files that it is about. */
import { $, button, isComposing, make } from "./dom.js";
import { showFailure } from "./failures.js";
import { present } from "./present.js";
import { Failure, callJson, owned } from "./service.js";
import { texts } from "./texts.js";

const MAX_UPLOAD = 10 * 1024 * 1024;

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
    refresh();
    question.focus();
  });
  refresh();
}

/** Puts a question back to be asked again, before what has been typed since. */
export function putBack(text, about) {
  question.value = [text, question.value].filter(Boolean).join("\n");
  files = [...about, ...files];
  $("files").replaceChildren(...files.map(({ chip }) => chip));
  refresh();
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
  $("send").disabled = Boolean(opening) || files.some((entry) => !entry.id) || !question.value.trim();
  question.placeholder = files.length ? texts.askAbout : texts.placeholder;
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

document.addEventListener("presentchange", refresh);
question.addEventListener("input", refresh);
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
  event.preventDefault();
  composer.requestSubmit();
});

// Files

async function attach(file) {
  const refusal = file.size > MAX_UPLOAD ? texts.tooBig(file.name) : file.size === 0 ? texts.empty(file.name) : null;
  if (refusal) return showFailure(new Failure(texts.upload(file.name), { message: refusal }));
  const state = make("span", { className: "about", text: texts.uploading });
  const chip = make("li", {}, make("span", { className: "name", text: file.name }), state);
  const entry = { file, chip, upload: new AbortController() };
  const remove = button("✕", () => {
    detach(entry);
    question.focus();
  }, "button round");
  remove.ariaLabel = texts.remove(file.name);
  chip.append(remove);
  files.push(entry);
  $("files").append(chip);
  refresh();
  try {
    const form = new FormData();
    form.append("file", file);
    const request = { method: "POST", body: form, signal: entry.upload.signal };
    ({ file_id: entry.id, file_url: entry.url } = await callJson(owned("api/v1/upload"), request, `${file.name}, ${file.size} B`));
    state.textContent = sizeOf(file);
  } catch (error) {
    detach(entry);
    if (error.name === "AbortError") return;
    error.title = texts.upload(file.name);
    showFailure(error, button(texts.retry, () => attach(file)));
  }
  refresh();
}

function detach(entry) {
  entry.upload.abort();
  entry.chip.remove();
  files = files.filter((other) => other !== entry);
  refresh();
}

function sizeOf(file) {
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
    composer.classList.toggle("drop", type === "dragover");
    if (type === "drop") [...event.dataTransfer.files].forEach(attach);
  });
}
