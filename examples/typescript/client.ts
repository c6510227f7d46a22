// A typed client: every path, field and event comes from the contract. Make coze-api.ts with `npm run generate`.
import createClient from "openapi-fetch";
import type { components, paths } from "./coze-api.ts";

type Schemas = components["schemas"];
export type Message = Schemas["ChatMessage"];
export type Question = Omit<Schemas["ChatRequest"], "stream">;
export type StreamEvent = Schemas["ChatStreamEvent"];

/** An answer that is not a success. `message` is for people; quote `requestId` when you report it. */
export class CozeError extends Error {
  readonly status: number;
  readonly requestId: string | null;
  readonly retryAfter: number | undefined;

  constructor(message: string, response: Response) {
    super(message);
    this.status = response.status;
    this.requestId = response.headers.get("X-Request-ID");
    this.retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  }
}

/** `key`: only where the service asks for one. In a page, everybody can read it. */
export function createCoze(baseUrl: string, key?: string) {
  const api = createClient<paths>({ baseUrl, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  return {
    /** All of the contract's operations. */
    api,

    /** A complete answer. */
    async chat(question: Question, signal?: AbortSignal): Promise<Schemas["ChatResponse"]> {
      const { data, error, response } = await api.POST("/api/v1/chat", { body: { ...question, stream: false }, signal });
      if (error) throw new CozeError(error.message, response);
      return data as Schemas["ChatResponse"]; // without `stream` it is never an event
    },

    /** The events of an answer as they come. Aborting `signal` frees Coze. */
    async *stream(question: Question, signal?: AbortSignal): AsyncGenerator<StreamEvent> {
      const { data, error, response } = await api.POST("/api/v1/chat", {
        body: { ...question, stream: true },
        parseAs: "stream",
        signal,
      });
      if (error) throw new CozeError(error.message, response);
      for await (const text of dataOf(data as ReadableStream<Uint8Array>)) {
        const event = JSON.parse(text) as StreamEvent;
        if (event.type === "error") throw new CozeError(event.message, response);
        yield event;
        if (event.type === "end") return;
      }
      throw new CozeError("The connection was lost before the answer was complete.", response);
    },

    /** Stores a file at Coze. */
    async upload(file: File, description?: string): Promise<Schemas["UploadResponse"]> {
      const form = new FormData();
      form.append("file", file);
      if (description) form.append("description", description);
      const { data, error, response } = await api.POST("/api/v1/upload", {
        body: { file: file.name }, // the contract's type for a file is a string; what is sent is the form
        bodySerializer: () => form,
      });
      if (error) throw new CozeError(error.message, response);
      return data;
    },
  };
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
