// A client of the service in plain JavaScript, for browsers and Node.js. Copy it into your project.

/** A failure. `message` is for people, `code` for programs; `retryAfter` is in seconds; quote `requestId`. */
export class CozeError extends Error {
  constructor(message, { code, status, requestId, retryAfter } = {}) {
    super(message);
    Object.assign(this, { name: "CozeError", code, status, requestId, retryAfter });
  }
}

const MOST_TRIES = 12; // in a row

export class CozeAPI {
  constructor(baseURL = "http://127.0.0.1:2026") {
    this.baseURL = baseURL;
  }

  /** A complete answer. `request`: user_id, messages, and if you like bot_id and conversation_id. */
  async chat(request, { signal } = {}) {
    return (await this.#post({ ...request, stream: false }, signal)).json();
  }

  /**
   * The events of an answer as they come: `for await (const event of api.stream(…))`. Aborting `signal` frees Coze.
   *
   * With `on_disconnect: "continue"` in the request a lost connection is made again and the bot is asked once; then `stop`
   * frees Coze. The same request with the same `key` within a minute or two gets the same answer, from its start.
   */
  async *stream(request, { signal, key = crypto.getRandomValues(new Uint32Array(4)).join("-") } = {}) {
    let outlives = request.on_disconnect === "continue";
    const headers = { "Idempotency-Key": key };
    for (let tries = 0; ; tries++) {
      try {
        const body = { ...request, on_disconnect: outlives ? "continue" : "cancel", stream: true };
        const response = await this.#post(body, signal, outlives ? headers : {});
        for await (const { id, data } of messagesOf(response.body)) {
          const event = JSON.parse(data);
          if (event.type === "error") {
            const { message, code, retry_after: retryAfter } = event;
            throw new CozeError(message, { code, retryAfter, requestId: response.headers.get("X-Request-ID") });
          }
          if (event.type === "end") return;
          headers["Last-Event-ID"] = id;
          tries = 0;
          yield event;
        }
        if (!outlives || tries === MOST_TRIES) throw new CozeError("The connection was lost before the answer was complete.");
      } catch (error) {
        if (error.code === "answers_unavailable" && outlives) outlives = false; // the service keeps no answers
        // A TypeError is how `fetch` says that the network failed.
        else if (!(error instanceof TypeError) || !outlives || tries === MOST_TRIES) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(15, 2 ** tries) * (250 + 250 * Math.random())));
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

  async #fetch(path, init) {
    const response = await fetch(this.baseURL + path, init);
    if (response.ok) return response;
    const body = await response.json().catch(() => null);
    throw new CozeError(body?.message ?? `HTTP ${response.status}`, {
      code: body?.code,
      status: response.status,
      requestId: response.headers.get("X-Request-ID"),
      retryAfter: Number(response.headers.get("Retry-After")) || undefined,
    });
  }
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
