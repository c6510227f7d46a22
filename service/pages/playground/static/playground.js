import { GrowingText, nextFrame, stayAtEnd } from "./frame.js";
import { dataOf } from "./sse.js";
import { texts, translate } from "./texts.js";
import { clearRaw, drawRaw, raw } from "./wire.js";

const MAX_UPLOAD = 10 * 1024 * 1024;
const MAX_COUNTDOWN = 120; // seconds
const MAX_IN_FRAME = 50_000; // characters of an answer to draw at once; more keep keys and clicks waiting

const $ = (id) => document.getElementById(id);
const [turns, welcome, composer, question] = ["turns", "welcome", "composer", "question"].map($);
const goToEnd = stayAtEnd($("log"), turns);

let conversationId = null;
let running = null; // the AbortController of the chat that is being answered
let files = []; // what the next question is about: { file, chip, id, url, upload }

/** A new element. Text only ever goes in as text, so nothing that a bot says can become part of the page. */
function make(tag, { text, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

function button(text, onclick, className = "button") {
  return make("button", { type: "button", text, onclick, className });
}

/** A button that asks the bot something. */
function asking(text, onclick) {
  return button(text, onclick, "button asks");
}

/** Switches a button on or off: off until its `until` (see countDown), and while the bot answers if it asks. */
function enable(element) {
  element.disabled = performance.now() < element.until || (Boolean(running) && element.matches(".asks"));
}

/** Tells those who do not see the page. Of a very long answer they get the beginning. */
function announce(text) {
  $("announcer").textContent = text.slice(0, 2000);
}

// The API key, where the service asks for one

/** `fetch`, with the key. A 401 opens the field for it. */
async function fetchWithKey(path, init = {}) {
  const key = $("key").value.trim();
  const response = await fetch(path, { ...init, headers: { ...init.headers, ...(key && { Authorization: `Bearer ${key}` }) } });
  if (response.status === 401) $("key-field").hidden = false;
  return response;
}

// Errors

/** What went wrong, as a person wants to know it. `fields`: status, message, retryAfter (seconds), requestId. */
class Failure extends Error {
  constructor(title, fields) {
    super(fields.message);
    Object.assign(this, fields, { title });
  }
}

async function failureOf(response) {
  const body = await response.json().catch(() => null);
  return new Failure(texts.errors[response.status] ?? texts.error, {
    status: response.status,
    message: body?.message ?? texts.notJson,
    retryAfter: Number(response.headers.get("Retry-After")) || undefined,
    requestId: response.headers.get("X-Request-ID"),
  });
}

const offline = () => new Failure(texts.offline, { message: texts.offlineMore });

/** `fetch`, with the wire shown in the raw pane and every answer but a good one thrown as a Failure. */
async function call(path, shown, init) {
  raw(`→ ${init.method} ${path}\n${shown}`, "note");
  const since = performance.now();
  let response;
  try {
    response = await fetchWithKey(path, init);
  } catch (error) {
    raw(`✕ ${error.name}`, "bad", since);
    throw error.name === "AbortError" ? error : offline();
  }
  const type = response.headers.get("Content-Type");
  raw(`← HTTP ${response.status} · ${type}\nX-Request-ID: ${response.headers.get("X-Request-ID")}`, response.ok ? "note" : "bad", since);
  if (response.ok) return { response, since };
  const failure = await failureOf(response.clone());
  raw(await response.text().catch(() => ""), "bad");
  throw failure;
}

function showFailure(failure, retry) {
  const card = make("div", { className: "error" });
  card.setAttribute("role", "alert");
  const status = failure.status ? ` · HTTP ${failure.status}` : "";
  card.append(make("strong", { text: failure.title + status }), make("p", { className: "what", text: failure.message }));
  if (failure.requestId) {
    card.append(make("p", { className: "about", text: `${texts.requestId} ` }, make("code", { text: failure.requestId })));
  }
  turns.append(card);
  if (!retry) return;
  card.append(retry);
  retry.addEventListener("click", () => card.remove());
  // A short wait is counted down. A long one, as for a used-up quota, is the person's to judge.
  if (failure.retryAfter > MAX_COUNTDOWN) card.append(make("p", { className: "about", text: texts.waitLong(Math.ceil(failure.retryAfter / 60)) }));
  else if (failure.retryAfter) countDown(retry, failure.retryAfter);
}

/** Switches a button of the page off for so long, and has it say so. */
function countDown(element, seconds) {
  const { textContent } = element;
  element.until = performance.now() + seconds * 1000;
  const timer = setInterval(tick, 500);
  function tick() {
    const left = Math.ceil((element.until - performance.now()) / 1000);
    element.textContent = left > 0 ? texts.retryIn(left) : textContent;
    enable(element);
    if (left <= 0 || !element.isConnected) clearInterval(timer);
  }
  tick();
}

// Files

async function attach(file) {
  const refusal = file.size > MAX_UPLOAD ? texts.tooBig(file.name) : file.size === 0 ? texts.empty(file.name) : null;
  if (refusal) {
    welcome.remove();
    showFailure(new Failure(texts.upload(file.name), { message: refusal }));
    return;
  }
  const state = make("span", { className: "about", text: texts.uploading });
  const chip = make("li", {}, make("span", { className: "name", text: file.name }), state);
  const entry = { file, chip, upload: new AbortController() };
  const remove = button("✕", () => detach(entry), "button round");
  remove.setAttribute("aria-label", texts.remove(file.name));
  chip.append(remove);
  files.push(entry);
  $("files").append(chip);
  refresh();
  try {
    const form = new FormData();
    form.append("file", file);
    const { response, since } = await call("api/v1/upload", `${file.name}, ${file.size} B`, {
      method: "POST", body: form, signal: entry.upload.signal,
    });
    const text = await response.text();
    raw(text, "", since);
    ({ file_id: entry.id, file_url: entry.url } = JSON.parse(text));
    state.textContent = sizeOf(file);
  } catch (error) {
    detach(entry);
    if (error.name === "AbortError") return;
    error.title = texts.upload(file.name);
    welcome.remove();
    showFailure(error instanceof Failure ? error : offline(), button(texts.retry, () => attach(file)));
  }
  refresh();
}

function detach(entry) {
  entry.upload.abort();
  entry.chip.remove();
  files = files.filter((other) => other !== entry);
  refresh();
  question.focus();
}

function sizeOf(file) {
  return file.size < 1024 ? `${file.size} B` : file.size < 1048576 ? `${Math.round(file.size / 1024)} KiB` : `${(file.size / 1048576).toFixed(1)} MiB`;
}

function partOf({ file, id }) {
  const kind = file.type.split("/")[0];
  return { type: ["image", "audio"].includes(kind) ? kind : "file", file_id: id };
}

// The chat

function messageOf(text, about) {
  if (!about.length) return { role: "user", content: text };
  const parts = [{ type: "text", text }, ...about.map(partOf)];
  return { role: "user", content: JSON.stringify(parts), content_type: "object_string" };
}

/** The picture as it was sent; where it cannot be had, as it was picked. */
function pictureOf({ file, url }) {
  const picture = make("img", { alt: file.name });
  const asPicked = () => Object.assign(picture, { onerror: null, src: URL.createObjectURL(file) });
  if (url) Object.assign(picture, { onerror: asPicked, src: url });
  else asPicked();
  return picture;
}

/** The question on the page. */
function questionOf(text, about) {
  const shown = make("div", { className: "message user" });
  for (const entry of about) {
    const { type, name } = entry.file;
    shown.append(type.startsWith("image/") ? pictureOf(entry) : make("p", { className: "bubble", text: `📎 ${name}` }));
  }
  shown.append(make("p", { className: "bubble", text }));
  return shown;
}

/** The bot's message on the page; what arrives is added to it. */
class Answer {
  constructor() {
    this.bubble = make("p", { className: "bubble" });
    this.words = new GrowingText(this.bubble);
    this.element = make("div", { className: "message bot" }, this.bubble);
    this.element.ariaBusy = "true"; // a screen reader waits for the end
    turns.append(this.element);
  }

  get behind() {
    return this.words.behind + (this.thoughts?.behind ?? 0);
  }

  add(content) {
    this.words.add(content);
  }

  think(content) {
    if (!this.thoughts) {
      const thoughts = make("p");
      this.thoughts = new GrowingText(thoughts);
      this.element.prepend(make("details", { className: "thinking", open: true }, make("summary", { text: texts.thinking }), thoughts));
    }
    this.thoughts.add(content);
  }

  suggest(content) {
    this.suggestions ??= make("div", { className: "suggestions" });
    this.suggestions.append(asking(content, () => ask(content, [])));
  }

  /** `note` and `failed` say that it ended early. */
  end(since, usage, note, failed) {
    this.words.draw();
    this.thoughts?.draw();
    this.element.ariaBusy = "false";
    if (!this.words.text && failed) {
      this.element.remove();
      return;
    }
    if (!this.words.text && !note) this.bubble.append(make("em", { text: texts.nothing }));
    const about = [`${((performance.now() - since) / 1000).toFixed(1)} s`];
    if (usage?.token_count !== undefined) about.push(texts.tokens(usage.token_count, usage.input_count ?? "–", usage.output_count ?? "–"));
    if (note) about.unshift(note);
    this.element.append(make("p", { className: "about", text: about.join(" · ") }));
    if (this.suggestions) this.element.append(this.suggestions);
  }
}

async function readStream(response, since, answer, signal) {
  const broken = (message) => new Failure(texts.brokeOff, { message, requestId: response.headers.get("X-Request-ID") });
  let failure = null;
  let usage;
  let ended = false;
  try {
    for await (const text of dataOf(response.body)) {
      const event = JSON.parse(text);
      raw(text, event.type === "error" ? "bad" : "", since);
      if (event.type === "message_delta") answer.add(event.content);
      else if (event.type === "reasoning_delta") answer.think(event.content);
      else if (event.type === "follow_up") answer.suggest(event.content);
      else if (event.type === "error") failure = broken(event.message);
      else if (event.type === "chat_completed") {
        keep(event.conversation_id);
        usage = event.usage;
      } else if (event.type === "end") ended = true;
      if (answer.behind > MAX_IN_FRAME) await nextFrame();
      signal.throwIfAborted(); // also what was read before it was aborted does not count
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : broken(texts.lost);
  }
  if (!ended) failure ??= broken(texts.lost);
  if (failure) throw failure;
  return usage;
}

async function readJson(response, since, answer) {
  const text = await response.text();
  raw(text, "", since);
  const body = JSON.parse(text);
  keep(body.conversation_id);
  if (body.data.reasoning_content) answer.think(body.data.reasoning_content);
  answer.add(body.data.content);
  (body.data.follow_ups ?? []).forEach((content) => answer.suggest(content));
  return body.data.usage;
}

function keep(id) {
  conversationId = id;
  $("conversation").textContent = id ?? "–";
}

function ask(text, about) {
  send(messageOf(text, about), questionOf(text, about));
}

/** Asks, and shows the answer as it comes. `shown` is the question on the page; one that is asked again moves to the end. */
async function send(message, shown) {
  const mine = (running = new AbortController());
  welcome.remove();
  turns.querySelectorAll(".suggestions").forEach((old) => old.remove());
  turns.append(shown);
  goToEnd();
  refresh();
  announce(texts.answering);
  const stream = $("stream").checked;
  const body = JSON.stringify({
    bot_id: $("bot").value.trim() || null,
    user_id: $("user").value.trim() || "playground",
    conversation_id: conversationId,
    messages: [message],
    stream,
  });
  const answer = new Answer();
  const begun = performance.now();
  let usage, note, failure;
  try {
    const { response, since } = await call("api/v1/chat", body, {
      method: "POST", headers: { "Content-Type": "application/json" }, body, signal: mine.signal,
    });
    usage = await (stream ? readStream : readJson)(response, since, answer, mine.signal);
  } catch (error) {
    if (error.name === "AbortError") note = texts.stopped;
    else failure = error instanceof Failure ? error : offline();
  }
  if (note) raw(`✕ ${note}`, "note");
  drawRaw();
  answer.end(begun, usage, note, Boolean(failure));
  if (running === mine) running = null;
  refresh();
  if (mine.forgotten) return; // the conversation it belonged to is gone from the page
  announce(failure ? "" : note ?? `${texts.answered} ${answer.words.text || texts.nothing}`);
  if (!failure) return;
  const again = () => {
    answer.element.remove();
    send(message, shown);
  };
  showFailure(failure, asking(texts.retry, again));
}

function stop() {
  running?.abort();
}

function newConversation() {
  if (running) running.forgotten = true;
  stop();
  running = null;
  [...files].forEach(detach);
  keep(null);
  turns.replaceChildren(welcome);
  announce("");
  refresh();
  question.focus();
}

// The form

function refresh() {
  $("stop").hidden = !running;
  $("send").hidden = Boolean(running);
  // Coze takes no message of files alone.
  $("send").disabled = files.some((entry) => !entry.id) || !question.value.trim();
  turns.querySelectorAll("button").forEach(enable);
  question.placeholder = files.length ? texts.askAbout : texts.placeholder;
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
  if (running || $("send").disabled) return;
  const [text, about] = [question.value.trim(), files];
  question.value = "";
  files = [];
  $("files").replaceChildren();
  ask(text, about);
  refresh();
  question.focus();
});
question.addEventListener("input", refresh);
question.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word (229: Safari's way to say so).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  composer.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
$("stop").addEventListener("click", () => {
  stop();
  question.focus();
});
$("new").addEventListener("click", newConversation);
$("clear").addEventListener("click", clearRaw);
$("key").addEventListener("change", () => {
  sessionStorage.setItem("api-key", $("key").value.trim());
  readConfig().catch(() => {});
});
$("bot").addEventListener("change", () => keep(null)); // a conversation belongs to its bot
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

// The start

async function showHealth() {
  const health = $("health");
  try {
    const answer = await (await fetch("health")).json();
    const good = answer.status === "healthy";
    health.className = `health ${good ? "good" : "bad"}`;
    health.firstElementChild.textContent = good ? `${texts.ready} · ${answer.version}` : texts.notReady;
    health.title = answer.message;
  } catch {
    health.className = "health bad";
    health.firstElementChild.textContent = texts.unreachable;
  }
}

async function readConfig() {
  const { data } = await (await fetchWithKey("api/v1/config")).json();
  if (data?.default_bot_id) $("bot").placeholder = data.default_bot_id;
  if (data?.default_user_id) $("user").value = data.default_user_id;
  if (data?.environment !== "sandbox") return;
  $("bots").replaceChildren(...Object.entries(texts.bots).map(([value, label]) => make("option", { value, label })));
}

translate(document.documentElement);
$("user").value = `playground-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
$("starters").append(...texts.starters.map((text) => asking(text, () => ask(text, []))));
$("key").value = sessionStorage.getItem("api-key") ?? "";
$("key-field").hidden = !$("key").value;
refresh();
showHealth();
readConfig().catch(() => {});
document.documentElement.dataset.ready = "true";
