// One conversation of a tab, for libraries that have a chat of their own: see ../ai-sdk and ../ant-design-x.
import { type Coze, CozeError, KEY_MILLISECONDS, type Question, random, type StreamEvent } from "./client.ts";
import { browser } from "./visitor.ts";

type Asked = { key: string; at: number; question: Question; answer_id?: string; chat_id?: string };
export type Earlier = { id: string; role: "user" | "assistant"; text: string };

export class Thread {
  #coze: Coze;
  #bot: string | undefined; // undefined: the service's default bot
  #tab = browser("sessionStorage");
  #key: string;
  #kept: { conversation_id?: string; asked?: Asked };

  constructor(coze: Coze, bot?: string) {
    this.#coze = coze;
    this.#bot = bot;
    this.#key = `thread with ${bot}`;
    this.#kept = JSON.parse(this.#tab.getItem(this.#key) ?? "{}");
  }

  /** The question whose answer may still come. */
  get asked(): string | undefined {
    const { asked } = this.#kept;
    const known = asked && (asked.answer_id || Date.now() - asked.at < KEY_MILLISECONDS);
    return known ? asked.question.messages[0]!.content : undefined;
  }

  /** What was said before a reload, without the answer that may still come. Throws CozeError. */
  async earlier(): Promise<Earlier[]> {
    const { conversation_id, asked } = this.#kept;
    const [said, going] = await Promise.all([this.#read(conversation_id), this.#goesOn(asked)]);
    if (!going || !asked) return said.map(({ id, role, text }) => ({ id, role, text }));
    const before = said.filter(({ chat_id }) => !chat_id || chat_id !== asked.chat_id);
    return [...before, { id: asked.key, role: "user", text: asked.question.messages[0]!.content }];
  }

  async #read(conversation_id: string | undefined) {
    if (!conversation_id || !(await this.#coze.knowsWhoAsks())) return [];
    const { data } = await this.#coze.messages(conversation_id, {});
    return data.map(({ message_id: id, role, content: text, chat_id }) => ({ id, role, text, chat_id }));
  }

  /** Whether an answer may still come. One that is not kept any more is among the messages. */
  async #goesOn(asked: Asked | undefined): Promise<boolean> {
    if (this.asked && asked?.answer_id && (await this.#coze.knowsWhoAsks())) {
      const params = { path: { answer_id: asked.answer_id } };
      const { response } = await this.#coze.api.GET("/api/v1/answers/{answer_id}", { params });
      if (response.status === 404) this.#keep();
    }
    return this.asked !== undefined;
  }

  /** The events of the answer to `content`. If `signal` aborts, the answer is stopped at Coze. Throws CozeError. */
  ask(content: string, signal?: AbortSignal): AsyncGenerator<StreamEvent> {
    const { conversation_id } = this.#kept;
    const messages: Question["messages"] = [{ role: "user", content }];
    const question = { bot_id: this.#bot, conversation_id, messages, on_disconnect: "continue" as const };
    this.#keep({ key: random(), at: Date.now(), question });
    return this.follow(signal);
  }

  /** The same for what was asked, from the start of its answer; the bot is not asked again. */
  async *follow(signal?: AbortSignal): AsyncGenerator<StreamEvent> {
    const asked = this.#kept.asked!;
    const reading = new AbortController();
    let [begun, lost, spoken] = [asked.answer_id !== undefined, false, false];
    /** An answer that outlives its connection has to be told to stop, as soon as the service has named it. */
    const stop = () => {
      if (!begun && !lost) return;
      if (asked.answer_id) void this.#coze.stop(asked.answer_id).catch(() => {}); // what nobody follows ends by itself
      reading.abort();
    };
    const onLost = (now: boolean) => {
      lost = now;
      if (signal?.aborted) stop();
    };
    signal?.addEventListener("abort", stop);
    try {
      const after = asked.answer_id && `${asked.answer_id}.0`;
      const { key, question } = asked;
      for await (const event of this.#coze.stream(question, { signal: reading.signal, key, after, onLost })) {
        if (event.type === "chat_started") {
          const { conversation_id, answer_id, chat_id } = event;
          Object.assign(asked, { answer_id, chat_id });
          this.#kept.conversation_id = conversation_id;
          this.#keep(answer_id ? asked : undefined); // one without a name ends with its connection
          begun = true;
          if (signal?.aborted) stop();
        }
        spoken ||= event.type === "message_delta";
        yield event;
      }
      if (!spoken) throw new CozeError({ code: "no_answer", message: "The bot gave no answer." });
      this.#keep();
    } catch (error) {
      // After a lost connection the answer may still go on.
      if (!(error instanceof CozeError) || !["unreachable", "connection_lost"].includes(error.code)) this.#keep();
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  #keep(asked?: Asked): void {
    this.#kept = { conversation_id: this.#kept.conversation_id, asked };
    this.#tab.setItem(this.#key, JSON.stringify(this.#kept));
  }
}
