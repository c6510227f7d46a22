// A request and a provider for Ant Design X's `useXChat`: the service's events as its messages.
import { AbstractChatProvider, AbstractXRequestClass, type XRequestOptions } from "@ant-design/x-sdk";
import type { StreamEvent } from "../../typescript/client.ts";
import type { Thread } from "../../typescript/thread.ts";

/** `again` follows the answer to what was asked, if that may still come. */
export type Asked = { text: string; again?: boolean };
export type Said = { role: "user" | "assistant"; text: string; thinking?: string; followUps?: string[]; error?: Error };
type Options = XRequestOptions<Asked, StreamEvent, Said>;

class CozeRequest extends AbstractXRequestClass<Asked, StreamEvent, Said> {
  readonly manual = true;
  readonly isTimeout = false;
  readonly isStreamTimeout = false;
  isRequesting = false;
  asyncHandler: Promise<void> = Promise.resolve();
  #thread: Thread;
  #stopping = new AbortController();

  constructor(thread: Thread) {
    super("coze", { manual: true } satisfies Options);
    this.#thread = thread;
  }

  run({ text, again }: Asked): void {
    const { signal } = (this.#stopping = new AbortController());
    const events = again && this.#thread.asked ? this.#thread.follow(signal) : this.#thread.ask(text, signal);
    this.asyncHandler = this.#hear(events);
  }

  /** Stops the answer, at Coze too. */
  abort(): void {
    this.#stopping.abort();
  }

  async #hear(events: AsyncGenerator<StreamEvent>): Promise<void> {
    const { onUpdate, onSuccess, onError } = this.options.callbacks!;
    this.isRequesting = true;
    try {
      const heard: StreamEvent[] = [];
      for await (const event of events) {
        heard.push(event);
        onUpdate?.(event, new Headers());
      }
      onSuccess(heard, new Headers());
    } catch (error) {
      onError(error as Error);
    } finally {
      this.isRequesting = false;
    }
  }
}

export class CozeProvider extends AbstractChatProvider<Said, Asked, StreamEvent> {
  constructor(thread: Thread) {
    super({ request: new CozeRequest(thread) });
  }

  transformParams({ text = "", again }: Partial<Asked>): Asked {
    return { text, again };
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
