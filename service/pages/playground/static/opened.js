/** The conversation that is open, which the address names: `#conversation_id=…&bot_id=…`. */
import { showBot } from "./bot.js";
import { discardFiles } from "./composer.js";
import { drop, fragmentOf, mark, pathOf } from "./conversations.js";
import { $, announce, button, make } from "./dom.js";
import { showFailure } from "./failures.js";
import { Answer, below, questionOf } from "./messages.js";
import { change, goToEnd, present, turns, welcome } from "./present.js";
import { forget, runningIn } from "./running.js";
import { callJson, callerKnown, isGone, offersHistory, owned } from "./service.js";
import { texts, whenOf } from "./texts.js";

let resume;

/** `onRunning` is called with an answer that is still coming (see running.js), and with its question if that is shown. */
export function startOpened(onRunning) {
  resume = onRunning;
}

/** Takes an id for the conversation of the next question, or null for a new one. The address tells it to the next load. */
export function keep(id) {
  present.conversationId = id;
  $("conversation").textContent = id ?? "–";
  const fragment = fragmentOf(id, $("bot").value.trim());
  if (fragment !== location.hash) history.replaceState(null, "", `${location.pathname}${location.search}${fragment}`);
  mark(id);
}

/** Clears the page for another conversation. */
function leave() {
  present.running?.leave();
  present.opening?.abort();
  discardFiles();
  turns.replaceChildren();
  change({ running: null, opening: null });
}

export function newConversation(notice = "") {
  leave();
  keep(null);
  showWelcome(notice);
}

function showWelcome(notice) {
  turns.append(welcome);
  $("notice").textContent = notice;
  announce(notice);
}

/** Shows what the address names. */
export function follow() {
  const named = new URLSearchParams(location.hash.slice(1));
  const id = /^\d{1,64}$/.test(named.get("conversation_id")) ? named.get("conversation_id") : null;
  $("bot").value = named.get("bot_id") ?? "";
  showBot();
  if (id === present.conversationId) return;
  if (id) open(id);
  else newConversation();
}

/** Shows what the address names, after a load of the page. */
export function followFirst() {
  follow();
  const running = present.opening ? null : runningIn(null);
  if (running) resume(running);
}

/** Shows a conversation. It goes on also where its messages cannot be read, such as for a user id that is only claimed. */
async function open(id) {
  leave();
  keep(id);
  const opening = new AbortController();
  turns.append(make("p", { className: "about", text: texts.opening }));
  change({ opening });
  let page, failure;
  let running = { entry: runningIn(id) };
  try {
    await callerKnown();
    if (offersHistory) page = await messagesOf(id, null, opening.signal);
    if (page) running = await runningBeside(id, page);
  } catch (error) {
    if (error.code !== "user_token_missing") failure = error;
  }
  if (present.opening !== opening) return;
  turns.replaceChildren();
  change({ opening: null });
  if (failure && isGone(failure)) return gone(id, false);
  if (failure) return showFailure(failure, button(texts.retry, () => open(id)));
  if (page) {
    showMessages(id, page);
    goToEnd();
    announce(texts.opened($("chat-title").textContent));
  } else {
    showWelcome(texts.goesOn);
  }
  if (running?.entry) resume(running.entry, running.question && questionOf(running.question.content, running.question.files ?? []));
}

/**
 * An answer that is still coming in the conversation `id`, as `{ entry, question }`, whose messages it takes out of the
 * page: they come anew. Undefined where there is none, or the service does not keep it any more.
 */
async function runningBeside(id, page) {
  const entry = runningIn(id);
  if (!entry) return;
  let chatId;
  if (entry.answerId) {
    try {
      chatId = (await callJson(owned(`api/v1/answers/${entry.answerId}`), {}, "")).data.chat_id;
    } catch (error) {
      if (error.code !== "answer_not_found") throw error;
      return forget(entry.key);
    }
  }
  // Without an answer there is only the question, last of all.
  const its = page.data.filter((message) => (chatId ? message.chat_id === chatId : message === page.data.at(-1) && message.role === "user"));
  page.data = page.data.filter((message) => !its.includes(message));
  return { entry, question: its.find(({ role }) => role === "user") };
}

/** A page of a conversation's messages, those before the message `before` if it is given. */
function messagesOf(id, before, signal) {
  return callJson(owned(`${pathOf(id)}/messages`, { before }), { signal }, "");
}

const LATE = [0, 1, 2, 4, 8]; // seconds between looks for an answer that Coze may not have completed yet

/** The bot's messages of a chat whose answer the service has lost, once Coze has completed it. Empty if there are none. */
export async function answerOf(conversationId, chatId, signal) {
  for (const seconds of LATE) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const { data } = await messagesOf(conversationId, null, signal);
    const found = data.filter(({ role, content, chat_id }) => role === "assistant" && content && chat_id === chatId);
    if (found.length) return found;
  }
  return [];
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
export function gone(id, here) {
  drop(id);
  if (id === present.conversationId) newConversation(here ? "" : texts.gone);
}
