// A request and a provider for Ant Design X's `useXChat`: the service's events as its messages.
import { AbstractChatProvider, AbstractXRequestClass, type XRequestOptions } from "@ant-design/x-sdk";
import { type Coze, random, type Question, type StreamEvent } from "../../typescript/client.ts";

export type Asked = { text: string };
export type Said = { role: "user" | "assistant"; text: string; thinking?: string; followUps?: string[]; error?: Error };
type Options = XRequestOptions<Asked, StreamEvent, Said>;

class CozeRequest extends AbstractXRequestClass<Asked, StreamEvent, Said> {
  readonly manual = true;
  readonly isTimeout = false;
  readonly isStreamTimeout = false;
  isRequesting = false;
  asyncHandler: Promise<void> = Promise.resolve();
  #coze: Coze;
  #bot: string | undefined;
  #conversation: string | undefined;
  #answer: string | undefined;
  #stopping = new AbortController();

  constructor(coze: Coze, bot?: string) {
    super("coze", { manual: true } satisfies Options);
    this.#coze = coze;
    this.#bot = bot;
  }

  run({ text }: Asked): void {
    this.#answer = undefined;
    this.#stopping = new AbortController();
    this.asyncHandler = this.#ask(text, this.#stopping.signal);
  }

  /** Stops the answer, at Coze too. */
  abort(): void {
    if (this.#answer) void this.#coze.stop(this.#answer).catch(() => {}); // what nobody follows ends by itself
    this.#stopping.abort();
  }

  async #ask(content: string, signal: AbortSignal): Promise<void> {
    const { onUpdate, onSuccess, onError } = this.options.callbacks!;
    const messages: Question["messages"] = [{ role: "user", content }];
    const question = { bot_id: this.#bot, conversation_id: this.#conversation, messages, on_disconnect: "continue" as const };
    this.isRequesting = true;
    try {
      const events: StreamEvent[] = [];
      for await (const event of this.#coze.stream(question, { signal, key: random() })) {
        if (event.type === "chat_started") [this.#conversation, this.#answer] = [event.conversation_id, event.answer_id];
        events.push(event);
        onUpdate?.(event, new Headers());
      }
      onSuccess(events, new Headers());
    } catch (error) {
      onError(error as Error);
    } finally {
      this.isRequesting = false;
    }
  }
}

export class CozeProvider extends AbstractChatProvider<Said, Asked, StreamEvent> {
  constructor(coze: Coze, bot?: string) {
    super({ request: new CozeRequest(coze, bot) });
  }

  transformParams({ text = "" }: Partial<Asked>): Asked {
    return { text };
  }

  transformLocalMessage({ text = "" }: Partial<Asked>): Said {
    return { role: "user", text };
  }

  transformMessage({ originMessage, chunk }: { originMessage?: Said; chunk: StreamEvent | undefined }): Said {
    const said = originMessage ?? { role: "assistant", text: "" };
    switch (chunk?.type) {
      case "message_delta":
        return { ...said, text: said.text + chunk.content };
      case "reasoning_delta":
        return { ...said, thinking: (said.thinking ?? "") + chunk.content };
      case "follow_up":
        return { ...said, followUps: [...(said.followUps ?? []), chunk.content] };
      default:
        return said;
    }
  }
}
