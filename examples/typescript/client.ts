// A typed client: every path, field and event comes from the contract. Make coze-api.ts with `npm run generate`.
import createClient from "openapi-fetch";
import type { components, paths } from "./coze-api.ts";

type Schemas = components["schemas"];
export type Message = Schemas["ChatMessage"];
export type Question = Omit<Schemas["ChatRequest"], "stream">;
export type StreamEvent = Schemas["ChatStreamEvent"];
export type Bot = Schemas["BotDetails"];
export type Conversation = Schemas["ConversationSummary"];
export type PastMessage = Schemas["Message"];
/** The contract's, and what a client alone can see. */
export type ErrorCode = Schemas["ErrorCode"] | "unreachable" | "connection_lost" | "no_answer";

/** A failure. `message` is for people, `code` for programs; quote `requestId` when you report it. */
export class CozeError extends Error {
  readonly code: ErrorCode;
  readonly status: number | undefined;
  readonly requestId: string | null;
  readonly retryAfter: number | undefined; // seconds

  constructor(failure: { code: ErrorCode; message: string; retry_after?: number }, response?: Response) {
    super(failure.message);
    this.code = failure.code;
    this.status = response?.status;
    this.requestId = response?.headers.get("X-Request-ID") ?? null;
    this.retryAfter = failure.retry_after ?? (Number(response?.headers.get("Retry-After")) || undefined);
  }
}

export type Identity = { user_id: string; token: string | null };

/** Who asks, in a page where that is not always the same; see visitor.ts. */
export interface User {
  identity(): Promise<Identity>;
  /** Who asks now that the service has refused this token. */
  renew(refused: string): Promise<Identity>;
}

type Answer<T> = { data?: T; error?: unknown; response: Response };

export type Reading = {
  signal?: AbortSignal;
  /** The question's own, with which it is asked once, however often it is sent. */
  key?: string;
  /** The id of an event, behind which the answer goes on; `<answer_id>.0` is its start. Nothing is asked then. */
  after?: string;
  /** Hears whether the connection is lost just now. */
  onLost?: (lost: boolean) => void;
};

const FIRST_PAUSE = 0.5; // seconds until a lost connection is made again; each further time twice as long
const LONGEST_PAUSE = 15;
/** For so long the service surely knows a question that was sent under a key. */
export const KEY_MILLISECONDS = 60_000;
const MOST_TRIES = 12; // in a row: two minutes, for which the service lets an answer go on that nobody follows

/** `user` may be an API key, where the service asks for one. In a page, everybody can read it. */
export function createCoze(baseUrl: string, user?: User | string) {
  const identity = async () => (typeof user === "object" ? user.identity() : { user_id: undefined, token: user });
  const api = createClient<paths>({ baseUrl });
  let keepsAnswers = true; // whether the service lets an answer outlive its connection, as far as is known
  api.use({
    async onRequest({ request }) {
      const { token } = await identity();
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
    },
  });

  /** Calls; if the token is refused, once more with another. Throws CozeError, or AbortError if that was asked for. */
  async function ask<T>(call: (user_id?: string) => Promise<Answer<T>>): Promise<{ data: T; response: Response }> {
    const { user_id, token } = await identity();
    let answer = await call(user_id).catch(unreachable);
    if (answer.response.status === 401 && token && typeof user === "object") {
      const renewed = await user.renew(token);
      answer = await call(renewed.user_id).catch(unreachable);
    }
    const { data, error, response } = answer;
    if (!response.ok) throw refusal(error, response);
    return { data: data as T, response };
  }

  return {
    /** All of the contract's operations. */
    api,

    /** A complete answer. */
    async chat(question: Question, signal?: AbortSignal): Promise<Schemas["ChatResponse"]> {
      const { data } = await ask((user_id) =>
        api.POST("/api/v1/chat", { body: { user_id, ...question, stream: false }, signal }),
      );
      return data as Schemas["ChatResponse"]; // without `stream` it is never an event
    },

    /**
     * The events of an answer as they come. Aborting `signal` frees Coze.
     *
     * With `on_disconnect: "continue"` a lost connection is made again, and the events go on; what frees Coze is `stop`.
     * Where the service keeps no answers all is as without: then `chat_started` has no `answer_id`.
     */
    async *stream(question: Question, reading: Reading = {}): AsyncGenerator<StreamEvent> {
      const { signal, onLost } = reading;
      let outlives = question.on_disconnect === "continue" && keepsAnswers;
      const key = reading.key ?? random();
      let after = reading.after;
      const since = Date.now();
      for (let tries = 1; ; tries++) {
        try {
          const header = { "Idempotency-Key": outlives ? key : undefined, "Last-Event-ID": after };
          const on_disconnect = outlives ? ("continue" as const) : undefined;
          const { data, response } = await ask((user_id) =>
            api.POST("/api/v1/chat", {
              params: { header },
              body: { user_id, ...question, on_disconnect, stream: true },
              parseAs: "stream",
              signal,
            }),
          );
          onLost?.(false);
          if (response.status === 204) return; // all of it was seen
          for await (const { id, event } of eventsOf(response, data as ReadableStream<Uint8Array>)) {
            if (event.type === "error") throw new CozeError(event, response);
            if (outlives) after = id;
            tries = 1;
            yield event;
            if (event.type === "end") return;
          }
        } catch (error) {
          if (outlives && error instanceof CozeError && error.code === "answers_unavailable") {
            outlives = keepsAnswers = false; // a service of several processes without a store for them
            continue;
          }
          const known = after || Date.now() - since < KEY_MILLISECONDS; // later it might be asked a second time
          if (!outlives || !known || tries === MOST_TRIES || !mayPass(error, after)) throw error;
          onLost?.(true);
          const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1));
          // Not all pages at the same moment, when the service is back.
          await passed(Math.max((error as CozeError).retryAfter ?? 0, pause * (0.5 + Math.random() / 2)), signal);
        }
      }
    },

    /** Has Coze stop working on an answer that outlives its connection. Whoever follows it gets an error that says so. */
    async stop(answer_id: string): Promise<void> {
      await ask((user_id) =>
        api.POST("/api/v1/answers/{answer_id}/stop", { params: { path: { answer_id }, query: { user_id } } }),
      );
    },

    /** Stores a file at Coze. */
    async upload(file: File, signal?: AbortSignal): Promise<Schemas["UploadResponse"]> {
      const form = new FormData();
      form.append("file", file);
      const { data } = await ask(() =>
        api.POST("/api/v1/upload", {
          body: { file: file.name }, // the contract's type for a file is a string; what is sent is the form
          bodySerializer: () => form,
          signal,
        }),
      );
      return data;
    },

    /** How the service is set up. */
    async config(signal?: AbortSignal) {
      return (await ask(() => api.GET("/api/v1/config", { signal }))).data.data;
    },

    /** A bot, by its id or the operator's name for it, and how it opens. */
    async bot(bot: string, signal?: AbortSignal): Promise<Bot> {
      return (await ask(() => api.GET("/api/v1/bots/{bot}", { params: { path: { bot } }, signal }))).data.data;
    },

    /** Whether the user is proven, so that the service remembers conversations for it. */
    async knowsWhoAsks(): Promise<boolean> {
      return Boolean((await identity()).token);
    },

    /** A page of the user's conversations, the one used last first. */
    async conversations(query: { bot_id?: string; cursor?: string }, signal?: AbortSignal) {
      return (await ask(() => api.GET("/api/v1/conversations", { params: { query }, signal }))).data;
    },

    /** A page of what was said, oldest first: the newest, or those before a message. */
    async messages(conversation_id: string, query: { before?: string }, signal?: AbortSignal) {
      const params = { path: { conversation_id }, query };
      return (await ask(() => api.GET(`${ONE}/messages`, { params, signal }))).data;
    },

    async rename(conversation_id: string, name: string): Promise<Conversation> {
      const params = { path: { conversation_id } };
      return (await ask(() => api.PATCH(ONE, { params, body: { name } }))).data.data;
    },

    async remove(conversation_id: string): Promise<void> {
      await ask(() => api.DELETE(ONE, { params: { path: { conversation_id } } }));
    },
  };
}

export type Coze = ReturnType<typeof createCoze>;
const ONE = "/api/v1/conversations/{conversation_id}";

/** What an answer that is not a success says; a proxy's may say nothing. */
export function refusal(body: unknown, response: Response): CozeError {
  const nothing = { code: "service_unavailable" as const, message: `HTTP ${response.status}` };
  return new CozeError({ ...nothing, ...(body instanceof Object && body) }, response);
}

function unreachable(error: unknown): never {
  if (!(error instanceof TypeError)) throw error;
  throw new CozeError({ code: "unreachable", message: "The service cannot be reached." });
}

/** A question about an uploaded file. */
export function about(text: string, fileId: string, type: "image" | "audio" | "file" = "file"): Message {
  const parts: Schemas["ObjectString"] = [{ type: "text", text }, { type, file_id: fileId }];
  return { role: "user", content: JSON.stringify(parts), content_type: "object_string" };
}

/** Whether it helps to connect again: where the network failed, and where an answer goes on behind a service that is busy. */
function mayPass(error: unknown, after: string | undefined): boolean {
  if (!(error instanceof CozeError)) return false;
  if (error.code === "unreachable" || error.code === "connection_lost") return true;
  return after !== undefined && [429, 502, 503, 504].includes(error.status ?? 0);
}

/** The events of a stream. Throws CozeError if it ends before its last one. */
async function* eventsOf(response: Response, body: ReadableStream<Uint8Array>) {
  try {
    for await (const { id, data } of messagesOf(body)) yield { id, event: JSON.parse(data) as StreamEvent };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // how `fetch` says that the network failed
  }
  const message = "The connection was lost before the answer was complete.";
  throw new CozeError({ code: "connection_lost", message }, response);
}

/** The messages of an event stream, wherever its bytes are cut: in a line, or within a character. */
export async function* messagesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<{ id: string; data: string }> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let [id, data] = ["", ""]; // the id is that of the last message that had one
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
      rest = lines.pop() ?? ""; // not a whole line yet
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

export function passed(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}

/** Tells each second how many are left, at last 0. Returns what ends that. */
export function countDown(seconds: number, tell: (left: number) => void): () => void {
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (!left) clearInterval(timer);
    tell(left);
  };
  const timer = setInterval(tick, 1000);
  tick();
  return () => clearInterval(timer);
}

/** What nobody guesses; `crypto.randomUUID` is missing where a page came over plain http. */
export function random(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
