// A transport for the AI SDK's `useChat`: the service's events as the SDK's chunks.
import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import { type Coze, CozeError, type Question, random } from "../../typescript/client.ts";
import { browser } from "../../typescript/visitor.ts";

type Data = { "follow-up": string };
export type Said = UIMessage<unknown, Data>;
type Chunk = UIMessageChunk<unknown, Data>;
type Sending = Parameters<ChatTransport<Said>["sendMessages"]>[0];
/** What the tab keeps: its conversation, and the question whose answer may still come. */
type Kept = { conversation_id?: string; asked?: { key: string; question: Question; answer_id?: string; chat_id?: string } };

export class CozeTransport implements ChatTransport<Said> {
  readonly resumeStreamIsReplay = true;
  #coze: Coze;
  #bot: string | undefined;
  #tab = browser("sessionStorage");
  #kept: Kept;

  constructor(coze: Coze, bot?: string) {
    this.#coze = coze;
    this.#bot = bot;
    this.#kept = JSON.parse(this.#tab.getItem("chat") ?? "{}");
  }

  /** What was said before a reload. An answer that goes on is left to `resume`. */
  async earlier(): Promise<Said[]> {
    const { conversation_id, asked } = this.#kept;
    if (!conversation_id || !(await this.#coze.knowsWhoAsks())) return [];
    const { data } = await this.#coze.messages(conversation_id, {});
    const said = data
      .filter(({ chat_id }) => !asked || chat_id !== asked.chat_id)
      .map(({ message_id, role, content }) => message(message_id, role, content));
    return asked ? [...said, message(asked.key, "user", asked.question.messages[0]!.content)] : said;
  }

  async sendMessages({ messages, abortSignal }: Sending): Promise<ReadableStream<Chunk>> {
    const { parts } = messages.filter(({ role }) => role === "user").at(-1)!;
    const content = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
    const { conversation_id } = this.#kept;
    this.#keep({
      conversation_id,
      asked: {
        key: random(),
        question: { bot_id: this.#bot, conversation_id, messages: [{ role: "user", content }], on_disconnect: "continue" },
      },
    });
    return streamOf(this.#chunks(abortSignal));
  }

  async reconnectToStream({ abortSignal }: Partial<Sending>): Promise<ReadableStream<Chunk> | null> {
    return this.#kept.asked?.answer_id ? streamOf(this.#chunks(abortSignal)) : null;
  }

  async *#chunks(stopping?: AbortSignal): AsyncGenerator<Chunk> {
    const { key, question, answer_id } = this.#kept.asked!;
    const after = answer_id && `${answer_id}.0`;
    const stopped = () => this.#kept.asked?.answer_id && this.#coze.stop(this.#kept.asked.answer_id).catch(() => {});
    let open: "text" | "reasoning" | undefined;
    stopping?.addEventListener("abort", stopped);
    try {
      yield { type: "start" };
      for await (const event of this.#coze.stream(question, { signal: stopping, key, after })) {
        if (event.type === "chat_started") {
          const { conversation_id, answer_id, chat_id } = event;
          this.#keep({ conversation_id, asked: { key, question, answer_id, chat_id } });
        } else if (event.type === "message_delta" || event.type === "reasoning_delta") {
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
      this.#keep({ conversation_id: this.#kept.conversation_id });
    } catch (error) {
      // After a lost connection the answer may still go on.
      const lost = error instanceof CozeError && ["unreachable", "connection_lost"].includes(error.code);
      if (!lost) this.#keep({ conversation_id: this.#kept.conversation_id });
      throw error;
    } finally {
      stopping?.removeEventListener("abort", stopped);
    }
  }

  #keep(kept: Kept): void {
    this.#kept = kept;
    this.#tab.setItem("chat", JSON.stringify(kept));
  }
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

function message(id: string, role: "user" | "assistant", text: string): Said {
  return { id, role, parts: [{ type: "text", text }] };
}
