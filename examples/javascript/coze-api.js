// A client of the service in plain JavaScript, for browsers and Node.js. Copy it into your project.

/** A failure. `message` is for people, `code` for programs; `retryAfter` is in seconds; quote `requestId`. */
export class CozeError extends Error {
  constructor(message, { code, status, requestId, retryAfter } = {}) {
    super(message);
    Object.assign(this, { name: "CozeError", code, status, requestId, retryAfter });
  }
}

const MOST_TRIES = 12; // in a row: two minutes, for which the service lets an answer go on that nobody follows
/** For so many milliseconds the service surely knows a question that was sent under a key. */
export const KEY_MILLISECONDS = 60_000;
/** What nobody guesses; `crypto.randomUUID` is missing where a page came over plain http. */
export const newKey = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");

export class CozeAPI {
  /** `token`: a visitor's or a user's, or an API key; in a page everybody can read that. */
  constructor(baseURL = "http://127.0.0.1:2026", token = null) {
    this.baseURL = baseURL;
    this.token = token;
  }

  /** A new visitor's `user_id` and `token`, to be kept in the browser. 404: the service has no visitors. */
  async visitor() {
    return (await (await this.#fetch("/api/v1/visitors", { method: "POST" })).json()).data;
  }

  /** What was said in a conversation of the token's user, oldest first. */
  async messages(conversationId) {
    return (await (await this.#fetch(`/api/v1/conversations/${conversationId}/messages`)).json()).data;
  }

  /** A complete answer. `request`: user_id, messages, and if you like bot_id and conversation_id. */
  async chat(request, { signal } = {}) {
    return (await this.#post({ ...request, stream: false }, signal)).json();
  }

  /**
   * The events of an answer as they come: `for await (const event of api.stream(…))`. Aborting `signal` frees Coze.
   *
   * With `on_disconnect: "continue"` in the request a lost connection is made again and the bot is asked once; then `stop`
   * frees Coze. The same request with the same `key` within a minute gets the same answer, from its start. `after` is the id
   * of an event behind which the answer goes on; `<answer_id>.0` is its start. `onLost` hears whether the connection is lost.
   */
  async *stream(request, { signal, key = newKey(), after, onLost = () => {} } = {}) {
    let outlives = request.on_disconnect === "continue";
    const since = Date.now();
    for (let tries = 1; ; tries++) {
      try {
        const headers = { ...(outlives && { "Idempotency-Key": key }), ...(after && { "Last-Event-ID": after }) };
        const body = { ...request, on_disconnect: outlives ? "continue" : "cancel", stream: true };
        const response = await this.#post(body, signal, headers);
        onLost(false);
        if (response.status === 204) return; // all of it was seen
        for await (const { id, data } of messagesOf(response.body)) {
          const event = JSON.parse(data);
          if (event.type === "error") {
            const { message, code, retry_after: retryAfter } = event;
            throw new CozeError(message, { code, retryAfter, requestId: response.headers.get("X-Request-ID") });
          }
          if (event.type === "end") return;
          if (outlives) after = id;
          tries = 1;
          yield event;
        }
        throw lost();
      } catch (thrown) {
        const error = thrown instanceof TypeError ? lost() : thrown; // how a stream says that the network failed
        if (error.code === "answers_unavailable" && outlives) {
          outlives = false; // the service keeps no answers
          continue;
        }
        const known = after || Date.now() - since < KEY_MILLISECONDS; // later it might be asked a second time
        const mayPass = ["unreachable", "connection_lost"].includes(error.code) || (after && [429, 502, 503, 504].includes(error.status));
        if (!outlives || !known || !mayPass || tries === MOST_TRIES) throw error;
        onLost(true);
        await passed(Math.max(error.retryAfter ?? 0, Math.min(15, 2 ** (tries - 2)) * (0.5 + Math.random() / 2)), signal);
      }
    }
  }

  /** Ends an answer that outlives its connection; `chat_started` has its id. */
  async stop(answerId) {
    await this.#fetch(`/api/v1/answers/${answerId}/stop`, { method: "POST" });
  }

  /** Stores a File or Blob at Coze; its `file_id` goes into a message made by `about`. */
  async upload(file, description) {
    const form = new FormData();
    form.append("file", file);
    if (description) form.append("description", description);
    return (await this.#fetch("/api/v1/upload", { method: "POST", body: form })).json();
  }

  health() {
    return fetch(`${this.baseURL}/health`).then((response) => response.json()); // 503 has the same shape
  }

  async user() {
    return (await this.#fetch("/api/v1/user/info")).json();
  }

  async workspaces() {
    return (await this.#fetch("/api/v1/workspaces")).json();
  }

  #post(body, signal, more = {}) {
    const headers = { "Content-Type": "application/json", ...more };
    return this.#fetch("/api/v1/chat", { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async #fetch(path, init = {}) {
    const headers = { ...init.headers, ...(this.token && { Authorization: `Bearer ${this.token}` }) };
    const response = await fetch(this.baseURL + path, { ...init, headers }).catch((error) => {
      if (!(error instanceof TypeError)) throw error; // how `fetch` says that the network failed
      throw new CozeError("The service cannot be reached.", { code: "unreachable" });
    });
    if (response.ok) return response;
    const body = await response.json().catch(() => null);
    throw new CozeError(body?.message ?? `HTTP ${response.status}`, {
      code: body?.code,
      status: response.status,
      requestId: response.headers.get("X-Request-ID"),
      retryAfter: body?.retry_after ?? (Number(response.headers.get("Retry-After")) || undefined),
    });
  }
}

function lost() {
  return new CozeError("The connection was lost before the answer was complete.", { code: "connection_lost" });
}

/** A question about an uploaded file. `type`: image, audio or file. */
export function about(text, fileId, type = "file") {
  const parts = [{ type: "text", text }, { type, file_id: fileId }];
  return { role: "user", content: JSON.stringify(parts), content_type: "object_string" };
}

/** The messages of an event stream, wherever its bytes are cut: in a line, or within a character. */
export async function* messagesOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let [id, data] = ["", ""]; // the id is that of the last message that had one
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
      rest = lines.pop(); // not a whole line yet
      for (const line of lines) {
        if (line.startsWith("id: ")) id = line.slice(4);
        if (line.startsWith("data: ")) data = line.slice(6);
        if (line || !data) continue;
        yield { id, data }; // a blank line ends it
        data = "";
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function passed(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}
