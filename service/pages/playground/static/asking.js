/** A question and its answer, as it comes. */
import { nextFrame } from "../../markdown/assets/growing.js";
import { putBack } from "./composer.js";
import { mark } from "./conversations.js";
import { $, announce, make } from "./dom.js";
import { asking, showFailure } from "./failures.js";
import { Answer, below, questionOf } from "./messages.js";
import { answerOf, gone, keep } from "./opened.js";
import { change, goToEnd, present, readOn, show, turns } from "./present.js";
import { forget, remember } from "./running.js";
import { Failure, callerKnown, isGone, offersHistory, offline, userId } from "./service.js";
import { texts } from "./texts.js";
import { UnbrokenAnswer, wholeAnswer } from "./unbroken.js";
import { raw } from "./wire.js";

/** A button that asks what it says. */
export function suggestion(text) {
  return asking(text, () => {
    ask(text, []);
    readOn();
  });
}

/** Asks. `about` are files: those that were just uploaded, as `{ file, id, url }`, or those of an earlier question. */
export function ask(text, about) {
  const shown = questionOf(text, about.map(({ file, id, url }) => ({ file, url, file_id: id, name: file.name, type: file.type.split("/")[0] })));
  new Asking({ text, about, shown, message: messageOf(text, about) }).run();
}

turns.addEventListener("again", ({ detail: { text, files, edit } }) => {
  const about = files.map(({ file, file_id: id, url, name, type }) => ({ file: file ?? { name, type, size: 0 }, id, url }));
  if (edit) return putBack(text, about);
  ask(text, about);
  readOn();
});

/** Goes on with an answer that an earlier load of the page had asked for (see running.js). `shown` is its question, if it is on the page. */
export function resume({ text, ...ticket }, shown = questionOf(text, [])) {
  keep(ticket.conversationId);
  new Asking({ text, about: [], shown, message: messageOf(text, []) }, ticket).run();
}

function messageOf(text, about) {
  if (!about.length) return { role: "user", content: text };
  const parts = [{ type: "text", text }, ...about.map(partOf)];
  return { role: "user", content: JSON.stringify(parts), content_type: "object_string" };
}

function partOf({ file, id }) {
  const kind = file.type.split("/")[0];
  return { type: ["image", "audio"].includes(kind) ? kind : "file", file_id: id };
}

// Milliseconds in which Coze ends a chat that was stopped; before, it takes no question in that conversation.
const STOPPING = 10_000;
const AGAIN = 500; // milliseconds between two tries
let stoppedAt = -Infinity; // when an answer was stopped last

class Asking {
  #turn; // { text, about, shown, message }, where `shown` is the question on the page
  #ticket; // of an answer that was asked for before
  #stream = null; // the UnbrokenAnswer
  #answer = new Answer();
  #abort = new AbortController(); // of waiting for it
  #isLeft = false; // its conversation is gone from the page
  #conversationId = present.conversationId;
  #chatId = null; // Coze's id of the turn, once it is known
  #isMarked = false;
  #begun = performance.now();
  #isWaiting = false; // for a connection

  constructor(turn, ticket = null) {
    [this.#turn, this.#ticket] = [turn, ticket];
  }

  stop() {
    stoppedAt = performance.now();
    this.#abort.abort();
    this.#stream?.stop().catch((failure) => failure.code !== "answer_not_found" && showFailure(failure));
    this.#forget();
  }

  /** Leaves the answer to itself: where it outlives its connection it goes on, and whoever opens its conversation sees it. */
  leave() {
    this.#isLeft = true;
    this.#abort.abort();
    this.#stream?.leave();
  }

  /** Asks, and shows the answer. A question that is asked again moves to the end. */
  async run() {
    turns.querySelectorAll(".bot .suggestions").forEach((old) => old.remove());
    // A line, where one does not stand there already for a conversation that did not begin.
    if (!present.conversationId && [...turns.querySelectorAll(".bot, .divider")].at(-1)?.matches(".bot")) show(make("p", { className: "divider", text: texts.newConversation }));
    show(this.#turn.shown, this.#answer.element);
    goToEnd();
    change({ running: this });
    announce(texts.answering);
    this.#showTime();
    const timer = setInterval(() => this.#showTime(), 500);
    let completed, note, failure;
    try {
      completed = await Promise.race([this.#answered(), this.#left()]);
    } catch (error) {
      if (error.name === "AbortError" || error.code === "answer_stopped") note = texts.stopped;
      else failure = error instanceof Failure ? error : offline();
    }
    clearInterval(timer);
    if (!this.#isLeft && !failure?.isLost) this.#forget();
    await this.#end(completed, note, failure);
  }

  #left() {
    const { signal } = this.#abort;
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  }

  #showTime() {
    const seconds = Math.floor((performance.now() - this.#begun) / 1000);
    this.#answer.wait(this.#isWaiting ? texts.reconnecting : seconds ? `${seconds} s` : "");
  }

  /** What completed the answer. Right after a stop it may take several tries. */
  async #answered() {
    await callerKnown();
    const stream = $("stream").checked;
    const body = this.#ticket?.body ?? {
      bot_id: $("bot").value.trim() || null,
      user_id: userId(),
      conversation_id: this.#conversationId,
      messages: [this.#turn.message],
      stream,
    };
    change({ sent: body });
    for (;;) {
      try {
        return await (body.stream ? this.#readStream(body) : this.#readWhole(body));
      } catch (error) {
        if (error.code === "answer_not_found") return this.#recall(error);
        if (error.code !== "conversation_busy" || performance.now() > stoppedAt + STOPPING) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
        this.#abort.signal.throwIfAborted();
      }
    }
  }

  /** Shows an answer that the service has lost as the conversation has it. */
  async #recall(failure) {
    if (!this.#chatId || !offersHistory) throw failure;
    const messages = await answerOf(this.#conversationId, this.#chatId, this.#abort.signal);
    if (!messages.length) throw failure;
    const answer = new Answer();
    this.#answer.element.replaceWith(answer.element);
    this.#answer = answer;
    for (const { reasoning_content: thoughts } of messages) if (thoughts) answer.think(thoughts);
    answer.add(messages.map(({ content }) => content).join("\n\n"));
    return messages.at(-1);
  }

  async #readStream(body) {
    this.#stream = new UnbrokenAnswer({ ...this.#ticket, body }, (isWaiting) => {
      this.#isWaiting = isWaiting;
      this.#showTime();
    });
    this.#remember();
    let failure = null;
    let completed = {};
    for await (const { event, text, since } of this.#stream.events()) {
      this.#abort.signal.throwIfAborted();
      raw(text, event.type === "error" ? "bad" : "", since);
      this.#take(event);
      if (event.type === "error") failure = new Failure(texts.brokeOff, { ...event, retryAfter: event.retry_after, requestId: this.#stream.requestId });
      else if (event.type === "chat_completed") completed = event;
      while (this.#answer.isBehind) await nextFrame();
    }
    if (failure) throw failure;
    return completed;
  }

  async #readWhole(body) {
    const { text, since } = await wholeAnswer(body, this.#abort.signal);
    raw(text, "", since);
    const { data, conversation_id } = JSON.parse(text);
    this.#take({ type: "chat_started", conversation_id });
    if (data.reasoning_content) this.#answer.think(data.reasoning_content);
    this.#answer.add(data.content);
    for (const content of data.follow_ups ?? []) this.#take({ type: "follow_up", content });
    return data;
  }

  #take({ type, content, conversation_id, chat_id }) {
    this.#chatId ??= chat_id;
    if (conversation_id) this.#belongsTo(conversation_id);
    if (type === "message_delta") this.#answer.add(content);
    else if (type === "reasoning_delta") this.#answer.think(content);
    else if (type === "follow_up") this.#answer.suggest(suggestion(content));
  }

  #belongsTo(conversationId) {
    if (this.#isMarked || this.#isLeft) return;
    this.#isMarked = true;
    keep((this.#conversationId = conversationId));
    mark(conversationId, true);
    this.#remember();
  }

  #remember() {
    const { ticket } = this.#stream ?? {};
    if (ticket) remember({ ...ticket, conversationId: this.#conversationId, text: this.#turn.text });
  }

  #forget() {
    if (this.#stream?.ticket) forget(this.#stream.ticket.key);
  }

  async #end(completed, note, failure) {
    const goesOn = this.#isLeft && this.#stream?.ticket;
    if (note && !goesOn) raw(`✕ ${note}`, "note");
    const { usage, message_id: messageId } = completed ?? {};
    const notes = [note, `${((performance.now() - this.#begun) / 1000).toFixed(1)} s`];
    if (usage?.token_count !== undefined) notes.push(texts.tokens(usage.token_count, usage.input_count ?? "–", usage.output_count ?? "–"));
    await this.#answer.end(below(notes, this.#conversationId, messageId), Boolean(completed));
    const { text } = this.#answer.words;
    if (failure && !text) this.#answer.element.remove();
    if (present.running === this) change({ running: null });
    if (this.#isLeft) return;
    announce(failure ? "" : note ?? `${texts.answered} ${text || texts.nothing}`);
    if (!failure) return;
    if (this.#ticket && failure.code === "answer_not_found") return this.#turn.shown.remove(); // it was over long ago
    if (this.#conversationId && isGone(failure)) return this.#askAnew();
    const again = () => {
      this.#answer.element.remove();
      new Asking(this.#turn, failure.isLost ? this.#stream.ticket : null).run();
    };
    showFailure(failure, asking(texts.retry, again));
  }

  /** Puts back a question whose conversation is gone, to be asked in a new one. */
  #askAnew() {
    gone(this.#conversationId, false);
    putBack(this.#turn.text, this.#turn.about);
  }
}
