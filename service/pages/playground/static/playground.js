import { readBots, showBot } from "./bot.js";
import { drop, fragmentOf, mark, pathOf, readList, startConversations } from "./conversations.js";
import { $, announce, button, isComposing, make } from "./dom.js";
import { nextFrame, stayAtEnd } from "./frame.js";
import { Answer, questionOf } from "./messages.js";
import { rating } from "./rating.js";
import { Failure, call, callJson, callerKnown, hasHistory, isGone, json, keepUser, offersHistory, offline, owned, showUser, userId } from "./service.js";
import { dataOf } from "./sse.js";
import { texts, translate, whenOf } from "./texts.js";
import { clearRaw, drawRaw, raw } from "./wire.js";

const MAX_UPLOAD = 10 * 1024 * 1024;
const MAX_COUNTDOWN = 120; // seconds
const MAX_IN_FRAME = 50_000; // characters of an answer to draw at once; more keep keys and clicks waiting

const [turns, welcome, composer, question] = ["turns", "welcome", "composer", "question"].map($);
const goToEnd = stayAtEnd($("log"), turns);

let conversationId = null;
let running = null; // the AbortController of the chat that is being answered
let opening = null; // the AbortController of the conversation that is being opened
let files = []; // what the next question is about: { file, chip, id, url, upload }

/** A button that asks the bot something. */
function asking(text, onclick) {
  return button(text, onclick, "button asks");
}

/** Switches a button on or off: off until its `until` (see countDown), and while the bot answers if it asks. */
function enable(element) {
  element.disabled = performance.now() < element.until || (Boolean(running) && element.matches(".asks"));
}

// Errors

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
  const remove = button("✕", () => {
    detach(entry);
    question.focus();
  }, "button round");
  remove.setAttribute("aria-label", texts.remove(file.name));
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
    welcome.remove();
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

/** Reads a streamed answer. `began` is called with the conversation's id. Returns the event that completed it. */
async function readStream(response, since, answer, signal, began) {
  const broken = (message) => new Failure(texts.brokeOff, { message, requestId: response.headers.get("X-Request-ID") });
  let failure = null;
  let completed = {};
  let ended = false;
  try {
    for await (const text of dataOf(response.body)) {
      signal.throwIfAborted(); // also what was read before it was aborted does not count
      const event = JSON.parse(text);
      raw(text, event.type === "error" ? "bad" : "", since);
      if (event.type === "chat_started") began(event.conversation_id);
      else if (event.type === "message_delta") answer.add(event.content);
      else if (event.type === "reasoning_delta") answer.think(event.content);
      else if (event.type === "follow_up") answer.suggest(suggestion(event.content));
      else if (event.type === "error") failure = broken(event.message);
      else if (event.type === "chat_completed") {
        began(event.conversation_id);
        completed = event;
      } else if (event.type === "end") ended = true;
      if (answer.behind > MAX_IN_FRAME) await nextFrame();
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : broken(texts.lost);
  }
  if (!ended) failure ??= broken(texts.lost);
  if (failure) throw failure;
  return completed;
}

/** Reads a JSON answer, as `readStream`. */
async function readJson(response, since, answer, _signal, began) {
  const text = await response.text();
  raw(text, "", since);
  const { data, conversation_id } = JSON.parse(text);
  began(conversation_id);
  if (data.reasoning_content) answer.think(data.reasoning_content);
  answer.add(data.content);
  (data.follow_ups ?? []).forEach((content) => answer.suggest(suggestion(content)));
  return data;
}

/** A button that asks what it says. When it is gone, the keyboard goes on from where it was. */
function suggestion(text) {
  return asking(text, () => {
    ask(text, []);
    $("log").focus({ preventScroll: true });
  });
}

function ask(text, about) {
  const shown = questionOf(text, about.map(({ file, url }) => ({ file, url, name: file.name, type: file.type.split("/")[0] })));
  send({ text, about, shown, message: messageOf(text, about) });
}

/** Asks, and shows the answer as it comes. `turn.shown` is the question on the page; one that is asked again moves to the end. */
async function send(turn) {
  const mine = (running = new AbortController());
  welcome.remove();
  turns.querySelectorAll(".suggestions").forEach((old) => old.remove());
  if (!conversationId && turns.querySelector(".bot")) turns.append(make("p", { className: "divider", text: texts.newConversation }));
  const answer = new Answer();
  turns.append(turn.shown, answer.element);
  goToEnd();
  refresh();
  announce(texts.answering);
  const stream = $("stream").checked;
  const begun = performance.now();
  let conversation = conversationId;
  let isMarked = false;
  const began = (id) => {
    if (!id || isMarked || mine.forgotten) return;
    isMarked = true;
    keep((conversation = id));
    mark(id, true);
  };
  let completed, note, failure;
  try {
    await callerKnown();
    const request = json("POST", {
      bot_id: $("bot").value.trim() || null,
      user_id: userId(),
      conversation_id: conversation,
      messages: [turn.message],
      stream,
    });
    const { response, since } = await call("api/v1/chat", { ...request, signal: mine.signal }, request.body);
    completed = await (stream ? readStream : readJson)(response, since, answer, mine.signal, began);
  } catch (error) {
    if (error.name === "AbortError") note = texts.stopped;
    else failure = error instanceof Failure ? error : offline();
  }
  if (note) raw(`✕ ${note}`, "note");
  drawRaw();
  const { usage, message_id: messageId } = completed ?? {};
  const notes = [note, `${((performance.now() - begun) / 1000).toFixed(1)} s`];
  if (usage?.token_count !== undefined) notes.push(texts.tokens(usage.token_count, usage.input_count ?? "–", usage.output_count ?? "–"));
  answer.end(below(notes, conversation, messageId), Boolean(completed));
  if (failure && !answer.words.text) answer.element.remove();
  if (running === mine) running = null;
  refresh();
  if (mine.forgotten) return; // the conversation it belonged to is gone from the page
  announce(failure ? "" : note ?? `${texts.answered} ${answer.words.text || texts.nothing}`);
  if (!failure) return;
  if (conversation && isGone(failure)) return askAnew(turn, conversation);
  const again = () => {
    answer.element.remove();
    send(turn);
  };
  showFailure(failure, asking(texts.retry, again));
}

/** What stands under an answer: short notes, and the buttons to rate it where that can be. */
function below(notes, conversation, messageId) {
  const parts = [make("p", { className: "about", text: notes.filter(Boolean).join(" · ") })];
  if (hasHistory() && conversation && messageId) parts.push(rating(conversation, messageId));
  return parts;
}

/** Puts back a question whose conversation is gone, to be asked in a new one. */
function askAnew({ text, about }, conversation) {
  gone(conversation, false);
  question.value = [text, question.value].filter(Boolean).join("\n");
  files = [...about, ...files];
  $("files").replaceChildren(...files.map(({ chip }) => chip));
  refresh();
  question.focus();
}

function stop() {
  running?.abort();
}

// Conversations

/** Takes an id for the conversation of the next question, or null for a new one. The address tells it to the next load. */
function keep(id) {
  conversationId = id;
  $("conversation").textContent = id ?? "–";
  const fragment = fragmentOf(hasHistory() ? id : null, $("bot").value.trim());
  if (fragment !== location.hash) history.replaceState(null, "", `${location.pathname}${location.search}${fragment}`);
  mark(id);
}

/** Clears the page for another conversation. */
function leave() {
  if (running) running.forgotten = true;
  stop();
  running = null;
  opening?.abort();
  opening = null;
  [...files].forEach(detach);
  turns.replaceChildren();
}

function newConversation(notice = "") {
  leave();
  keep(null);
  turns.append(welcome);
  $("notice").textContent = notice;
  announce(notice);
  refresh();
}

/** Shows what the address names. */
function follow() {
  const named = new URLSearchParams(location.hash.slice(1));
  const id = /^\d{1,64}$/.test(named.get("conversation_id")) ? named.get("conversation_id") : null;
  $("bot").value = named.get("bot_id") ?? "";
  showBot(suggestion);
  if (id === conversationId) return;
  if (id && offersHistory) open(id);
  else newConversation();
}

async function open(id) {
  leave();
  keep(id);
  const mine = (opening = new AbortController());
  turns.append(make("p", { className: "about", text: texts.opening }));
  refresh();
  let page, failure;
  try {
    page = await messagesOf(id, null, mine.signal);
  } catch (error) {
    failure = error;
  }
  if (opening !== mine) return;
  opening = null;
  turns.replaceChildren();
  refresh();
  if (failure && isGone(failure)) return gone(id, false);
  if (failure) return showFailure(failure, button(texts.retry, () => open(id)));
  showMessages(id, page);
  goToEnd();
  announce(texts.opened($("chat-title").textContent));
}

/** A page of a conversation's messages, those before the message `before` if it is given. */
async function messagesOf(id, before, signal) {
  await callerKnown();
  return callJson(owned(`${pathOf(id)}/messages`, { before }), { signal }, "");
}

/** Puts a page of messages before those that are shown. */
function showMessages(id, { data, has_more: hasMore }) {
  const shown = data.map((message) => {
    if (message.role === "user") return questionOf(message.content, message.files ?? []);
    const answer = new Answer();
    if (message.reasoning_content) answer.think(message.reasoning_content, false);
    answer.add(message.content);
    answer.end(below([whenOf(new Date(message.created_at))], id, message.message_id), true);
    return answer.element;
  });
  const log = $("log");
  const fromEnd = log.scrollHeight - log.scrollTop;
  turns.prepend(...shown);
  if (hasMore && data.length) turns.prepend(earlier(id, data[0].message_id));
  log.scrollTop = log.scrollHeight - fromEnd;
}

/** A button that shows the messages before the message `before`. */
function earlier(id, before) {
  const more = button(texts.earlier, async () => {
    if (more.ariaBusy === "true") return;
    more.ariaBusy = "true";
    let page, failure;
    try {
      page = await messagesOf(id, before);
    } catch (error) {
      failure = error;
    }
    if (!more.isConnected) return;
    more.ariaBusy = "false";
    if (failure && isGone(failure)) return gone(id, false);
    if (failure) return showFailure(failure);
    const focused = document.activeElement === more;
    more.remove();
    showMessages(id, page);
    if (focused) (turns.querySelector(".earlier") ?? $("log")).focus({ preventScroll: true });
  }, "button small earlier");
  return more;
}

/** A conversation was deleted, `here` or elsewhere. */
function gone(id, here) {
  drop(id);
  if (id === conversationId) newConversation(here ? "" : texts.gone);
}

// The form

function refresh() {
  $("stop").hidden = !running;
  $("send").hidden = Boolean(running);
  // Coze takes no message of files alone.
  $("send").disabled = Boolean(opening) || files.some((entry) => !entry.id) || !question.value.trim();
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
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
  event.preventDefault();
  composer.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
});
$("stop").addEventListener("click", () => {
  stop();
  question.focus();
});
$("new").addEventListener("click", () => {
  if (conversationId && location.hash) history.pushState(null, "", location.href); // "back" opens it again
  newConversation();
  question.focus();
});
$("clear").addEventListener("click", clearRaw);
$("key").addEventListener("change", () => {
  sessionStorage.setItem("api-key", $("key").value.trim());
  changeCaller();
  readConfig().catch(() => {});
  readBots();
  showBot(suggestion);
});
$("user").addEventListener("change", () => {
  keepUser();
  changeCaller();
});
$("bot").addEventListener("change", () => {
  keep(null); // a conversation belongs to its bot
  showBot(suggestion);
});
addEventListener("hashchange", follow);
document.addEventListener("callerchange", readList);

/** Another caller has other conversations. */
function changeCaller() {
  showUser();
  keep(null);
  callerKnown().then(readList);
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
  const data = (await callJson("api/v1/config")).data;
  if (data.default_bot_id) $("bot").placeholder = data.default_bot_id;
  showUser(data.default_user_id);
  if (data.environment !== "sandbox") return;
  $("bots").replaceChildren(...Object.entries(texts.bots).map(([value, label]) => make("option", { value, label })));
}

translate(document.documentElement);
$("key").value = sessionStorage.getItem("api-key") ?? "";
$("key-field").hidden = !$("key").value;
showUser();
refresh();
showHealth();
readConfig().catch(() => {});
startConversations(gone);
readBots();
follow();
document.documentElement.dataset.ready = "true";
