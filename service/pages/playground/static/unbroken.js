/**
 * A streamed answer over as many connections as it takes: each event once and in order, and the bot asked once. Where the
 * service cannot keep an answer it is one connection's, and leaving that ends it.
 */
import { Failure, call, callJson, json, offline, owned } from "./service.js";
import { eventsOf } from "./sse.js";
import { texts } from "./texts.js";

const SILENCE = 60_000; // milliseconds; the service sends something in a quarter of that
const TRIES = 3; // until there was an answer at all
const PATIENCE = 120_000; // milliseconds of trying again in one row; then the service keeps an answer no longer
const LONGEST_PAUSE = 8000;
// What may be otherwise a moment later, though nothing is wrong with the answer; proxies have no codes.
const FLEETING = ["rate_limited", "service_busy", "service_full", "service_stopping", "service_unavailable", "answers_unreachable", undefined];
const NOT_KEPT = ["answers_unavailable", "answers_full", "too_many_answers"];

let offersToKeep = true; // as far as is known

const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

export class UnbrokenAnswer {
  answerId;
  requestId; // of the newest connection
  #body; // of the question
  #key;
  #lastId = null; // of the newest event
  #isKept = offersToKeep;
  #abort = new AbortController();
  #isStopped = false;
  #onWait;

  /** `onWait` is called with true when the connection is lost, and with false when the answer goes on. */
  constructor({ body, key = randomKey(), answerId = null }, onWait) {
    Object.assign(this, { answerId });
    [this.#body, this.#key, this.#onWait] = [body, key, onWait];
  }

  /** What another page needs to go on with the answer; null where that cannot be. */
  get ticket() {
    return this.#isKept ? { body: this.#body, key: this.#key, answerId: this.answerId } : null;
  }

  /** The events, each as `{ event, text, since }`. Raises a Failure, of which `isLost` says that the answer may go on. */
  async *events() {
    let [tries, lostAt] = [0, null];
    for (;;) {
      let failure;
      try {
        const { response, since } = await this.#connect();
        this.requestId = response.headers.get("X-Request-ID");
        if (response.status === 204) return; // it is over, and all of it was here
        for await (const { id, data } of eventsOf(response.body, this.#isKept && SILENCE)) {
          this.#abort.signal.throwIfAborted(); // also what was read before it was left does not count
          if (lostAt !== null) this.#onWait(false);
          [tries, lostAt] = [0, null];
          this.#lastId = id;
          const event = JSON.parse(data);
          yield { event, text: data, since };
          if (event.type === "end") return;
        }
        failure = new Failure(texts.brokeOff, { message: texts.lost, requestId: this.requestId, isLost: true });
      } catch (error) {
        this.#abort.signal.throwIfAborted();
        failure = error instanceof Failure ? error : new Failure(texts.brokeOff, { message: texts.lost, isLost: true });
      }
      if (this.#isKept && NOT_KEPT.includes(failure.code)) {
        this.#isKept = false;
        offersToKeep &&= failure.code !== "answers_unavailable";
        continue;
      }
      lostAt ??= performance.now();
      tries += 1;
      if (!this.#mayGoOn(failure, tries, performance.now() - lostAt)) throw failure;
      this.#onWait(true);
      await this.#pause(tries, failure.retryAfter ?? 0);
    }
  }

  #mayGoOn(failure, tries, lostFor) {
    if (!this.#isKept) return false;
    if (!this.answerId) return !failure.status && tries < TRIES;
    return lostFor < PATIENCE && (!failure.status || FLEETING.includes(failure.code));
  }

  /** Waits longer each time, and not as long as others do; less when the network or the person comes back. */
  async #pause(tries, atLeast) {
    const longest = Math.min(LONGEST_PAUSE, 500 * 2 ** tries);
    const pause = Math.max(atLeast * 1000, (longest / 2) * (1 + Math.random()));
    const over = new AbortController();
    await new Promise((resolve) => {
      const { signal } = over;
      setTimeout(resolve, pause);
      this.#abort.signal.addEventListener("abort", resolve, { signal });
      if (atLeast) return;
      addEventListener("online", resolve, { signal });
      document.addEventListener("visibilitychange", () => document.hidden || resolve(), { signal });
    });
    over.abort();
    this.#abort.signal.throwIfAborted();
  }

  async #connect() {
    const { signal } = this.#abort;
    const connected = await (this.answerId ? this.#follow(signal) : this.#ask(signal));
    this.answerId ??= connected.response.headers.get("Answer-ID");
    if (this.#isStopped) await this.stop(); // it had no name until now
    return connected;
  }

  #ask(signal) {
    const request = json("POST", this.#isKept ? { ...this.#body, on_disconnect: "continue" } : this.#body);
    if (this.#isKept) request.headers["Idempotency-Key"] = this.#key;
    return call("api/v1/chat", { ...request, signal }, request.body);
  }

  #follow(signal) {
    const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
    return call(owned(`api/v1/answers/${this.answerId}/events`), { headers, signal }, "");
  }

  /** Ends the answer for all who follow it. One that has no name yet is ended when it gets one. */
  async stop() {
    this.#isStopped = true;
    if (!this.#isKept) return this.leave();
    if (!this.answerId) return;
    try {
      await callJson(owned(`api/v1/answers/${this.answerId}/stop`), { method: "POST" }, "");
    } finally {
      this.leave();
    }
  }

  /** Closes the connection. An answer that is kept goes on. */
  leave() {
    this.#abort.abort();
  }
}

/** What a chat without a stream answers, and since when it was asked. Aborting it ends the chat. */
export async function wholeAnswer(body, signal) {
  const request = json("POST", body);
  const { response, since } = await call("api/v1/chat", { ...request, signal }, request.body);
  try {
    return { text: await response.text(), since };
  } catch (error) {
    throw error.name === "AbortError" ? error : offline();
  }
}
