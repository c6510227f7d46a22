// A transport for the AI SDK's `useChat`: the service's events as the SDK's chunks.
import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import type { StreamEvent } from "../../typescript/client.ts";
import type { Thread } from "../../typescript/thread.ts";

type Data = { "follow-up": string };
export type Said = UIMessage<unknown, Data>;
type Chunk = UIMessageChunk<unknown, Data>;
type Sending = Parameters<ChatTransport<Said>["sendMessages"]>[0];

export class CozeTransport implements ChatTransport<Said> {
  readonly resumeStreamIsReplay = true;
  #thread: Thread;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** What was said before a reload. An answer that goes on is left to `resume`. */
  async earlier(): Promise<Said[]> {
    const said = await this.#thread.earlier();
    return said.map(({ id, role, text }) => ({ id, role, parts: [{ type: "text", text }] }));
  }

  async sendMessages({ messages, abortSignal, trigger }: Sending): Promise<ReadableStream<Chunk>> {
    // After a lost connection the answer is followed again, not asked for again.
    if (trigger === "regenerate-message" && this.#thread.asked) return streamOf(chunks(this.#thread.follow(abortSignal)));
    const { parts } = messages.filter(({ role }) => role === "user").at(-1)!;
    const content = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
    return streamOf(chunks(this.#thread.ask(content, abortSignal)));
  }

  async reconnectToStream({ abortSignal }: Partial<Sending>): Promise<ReadableStream<Chunk> | null> {
    return this.#thread.asked ? streamOf(chunks(this.#thread.follow(abortSignal))) : null;
  }
}

async function* chunks(events: AsyncGenerator<StreamEvent>): AsyncGenerator<Chunk> {
  let open: "text" | "reasoning" | undefined;
  yield { type: "start" };
  for await (const event of events) {
    if (event.type === "message_delta" || event.type === "reasoning_delta") {
      const kind = event.type === "message_delta" ? "text" : "reasoning";
      if (open && open !== kind) yield { type: `${open}-end`, id: open };
      if (open !== kind) yield { type: `${kind}-start`, id: kind };
      open = kind;
      yield { type: `${kind}-delta`, id: kind, delta: event.content };
    } else if (event.type === "follow_up") {
      yield { type: "data-follow-up", data: event.content };
    }
  }
  if (open) yield { type: `${open}-end`, id: open };
  yield { type: "finish" };
}

/** `ReadableStream.from`, which not all browsers have. */
function streamOf(chunks: AsyncGenerator<Chunk>): ReadableStream<Chunk> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => void chunks.return(undefined),
  });
}
