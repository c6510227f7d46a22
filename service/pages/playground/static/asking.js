/** A question and its answer, as it comes. */
import { putBack } from "./composer.js";
import { mark } from "./conversations.js";
import { $, announce, make } from "./dom.js";
import { asking, showFailure } from "./failures.js";
import { nextFrame } from "./frame.js";
import { Answer, below, questionOf } from "./messages.js";
import { gone, keep } from "./opened.js";
import { change, goToEnd, present, show, turns } from "./present.js";
import { Failure, call, callerKnown, isGone, json, offline, userId } from "./service.js";
import { dataOf } from "./sse.js";
import { texts } from "./texts.js";
import { drawRaw, raw } from "./wire.js";

/** A button that asks what it says. When it is gone, the keyboard goes on from where it was. */
export function suggestion(text) {
  return asking(text, () => {
    ask(text, []);
    $("log").focus({ preventScroll: true });
  });
}

export function ask(text, about) {
  const shown = questionOf(text, about.map(({ file, url }) => ({ file, url, name: file.name, type: file.type.split("/")[0] })));
  new Asking({ text, about, shown, message: messageOf(text, about) }).run();
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

class Asking {
  #turn; // { text, about, shown, message }, where `shown` is the question on the page
  #answer = new Answer();
  #abort = new AbortController();
  #isLeft = false; // its conversation is gone from the page
  #conversationId = present.conversationId;
  #isMarked = false;
  #begun = performance.now();

  constructor(turn) {
    this.#turn = turn;
  }

  stop() {
    this.#abort.abort();
  }

  leave() {
    this.#isLeft = true;
    this.stop();
  }

  /** Asks, and shows the answer. A question that is asked again moves to the end. */
  async run() {
    turns.querySelectorAll(".bot .suggestions").forEach((old) => old.remove());
    if (!present.conversationId && turns.querySelector(".bot")) show(make("p", { className: "divider", text: texts.newConversation }));
    show(this.#turn.shown, this.#answer.element);
    goToEnd();
    change({ running: this });
    announce(texts.answering);
    let completed, note, failure;
    try {
      completed = await this.#answered($("stream").checked);
    } catch (error) {
      if (error.name === "AbortError") note = texts.stopped;
      else failure = error instanceof Failure ? error : offline();
    }
    await this.#end(completed, note, failure);
  }

  /** What completed the answer. */
  async #answered(stream) {
    await callerKnown();
    const request = json("POST", {
      bot_id: $("bot").value.trim() || null,
      user_id: userId(),
      conversation_id: this.#conversationId,
      messages: [this.#turn.message],
      stream,
    });
    const { response, since } = await call("api/v1/chat", { ...request, signal: this.#abort.signal }, request.body);
    return stream ? this.#readStream(response, since) : this.#readJson(response, since);
  }

  async #readStream(response, since) {
    const broken = (message) => new Failure(texts.brokeOff, { message, requestId: response.headers.get("X-Request-ID") });
    let failure = null;
    let completed = {};
    let ended = false;
    try {
      for await (const text of dataOf(response.body)) {
        this.#abort.signal.throwIfAborted(); // also what was read before it was aborted does not count
        const event = JSON.parse(text);
        raw(text, event.type === "error" ? "bad" : "", since);
        this.#take(event);
        if (event.type === "error") failure = broken(event.message);
        else if (event.type === "chat_completed") completed = event;
        else if (event.type === "end") ended = true;
        while (this.#answer.isBehind) await nextFrame();
      }
    } catch (error) {
      throw error.name === "AbortError" ? error : broken(texts.lost);
    }
    if (!ended) failure ??= broken(texts.lost);
    if (failure) throw failure;
    return completed;
  }

  async #readJson(response, since) {
    const text = await response.text();
    raw(text, "", since);
    const { data, conversation_id } = JSON.parse(text);
    this.#take({ type: "chat_started", conversation_id });
    if (data.reasoning_content) this.#answer.think(data.reasoning_content);
    this.#answer.add(data.content);
    for (const content of data.follow_ups ?? []) this.#take({ type: "follow_up", content });
    return data;
  }

  #take({ type, content, conversation_id }) {
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
  }

  async #end(completed, note, failure) {
    if (note) raw(`✕ ${note}`, "note");
    drawRaw();
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
    if (this.#conversationId && isGone(failure)) return this.#askAnew();
    const again = () => {
      this.#answer.element.remove();
      new Asking(this.#turn).run();
    };
    showFailure(failure, asking(texts.retry, again));
  }

  /** Puts back a question whose conversation is gone, to be asked in a new one. */
  #askAnew() {
    gone(this.#conversationId, false);
    putBack(this.#turn.text, this.#turn.about);
  }
}
