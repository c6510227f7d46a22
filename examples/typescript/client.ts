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

/** `user` may be an API key, where the service asks for one. In a page, everybody can read it. */
export function createCoze(baseUrl: string, user?: User | string) {
  const identity = async () => (typeof user === "object" ? user.identity() : { user_id: undefined, token: user });
  const api = createClient<paths>({ baseUrl });
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

    /** The events of an answer as they come. Aborting `signal` frees Coze. */
    async *stream(question: Question, signal?: AbortSignal): AsyncGenerator<StreamEvent> {
      const { data, response } = await ask((user_id) =>
        api.POST("/api/v1/chat", { body: { user_id, ...question, stream: true }, parseAs: "stream", signal }),
      );
      const message = "The connection was lost before the answer was complete.";
      const lost = new CozeError({ code: "connection_lost", message }, response);
      try {
        for await (const text of dataOf(data as ReadableStream<Uint8Array>)) {
          const event = JSON.parse(text) as StreamEvent;
          if (event.type === "error") throw new CozeError(event, response);
          yield event;
          if (event.type === "end") return;
        }
      } catch (error) {
        throw error instanceof TypeError ? lost : error; // how `fetch` says that the network failed
      }
      throw lost;
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

/** The `data` texts of an event stream, wherever its bytes are cut: in a line, or within a character. */
export async function* dataOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
      rest = lines.pop() ?? ""; // not a whole line yet
      for (const line of lines) {
        if (line.startsWith("data: ")) yield line.slice(6);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
