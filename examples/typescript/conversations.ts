// The list of a user's conversations with a bot, as a page shows it.
import { type Conversation, type Coze, CozeError } from "./client.ts";

export type Listed = {
  conversations: readonly Conversation[] | null; // null: the service remembers none
  cursor: string | null; // of more conversations
  trouble: CozeError | null; // with the conversations
};

export class Conversations {
  #coze: Coze;
  #tell: (listed: Listed) => void;
  #listed: Listed = { conversations: null, cursor: null, trouble: null };
  #page = new AbortController(); // of calls that last as long as the page

  /** `tell` hears of each change. */
  constructor(coze: Coze, tell: (listed: Listed) => void) {
    this.#coze = coze;
    this.#tell = tell;
  }

  /** Begins anew. Returns what ends all calls when the page is left. */
  start(): () => void {
    const page = (this.#page = new AbortController());
    return () => page.abort();
  }

  /** Reads the newest part of the list. What was read of the rest stays. `bot_id` says with which bot, once that is known. */
  read(bot_id: (signal: AbortSignal) => Promise<string | undefined>): Promise<void> {
    return this.#do(async (signal) => {
      const bot = await bot_id(signal);
      if (!(await this.#coze.knowsWhoAsks())) return;
      const { data, next_cursor } = await this.#coze.conversations({ bot_id: bot }, signal);
      const end = data.at(-1)?.updated_at ?? "";
      const rest = next_cursor ? this.#all.filter((one) => one.updated_at <= end) : [];
      const conversations = merged(data, rest);
      const cursor = conversations.length > data.length ? this.#listed.cursor : next_cursor;
      this.#set({ conversations, cursor });
    });
  }

  /** More of the list. */
  more(bot_id: string | undefined): Promise<void> {
    return this.#do(async (signal) => {
      const query = { bot_id, cursor: this.#listed.cursor ?? undefined };
      const { data, next_cursor } = await this.#coze.conversations(query, signal);
      this.#set({ conversations: merged(this.#all, data), cursor: next_cursor });
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.#do(async () => {
      const renamed = await this.#coze.rename(id, name);
      this.#set({ conversations: this.#all.map((one) => (one.conversation_id === id ? renamed : one)) });
    });
  }

  remove(id: string): Promise<void> {
    return this.#do(async () => {
      await this.#coze.remove(id).catch((error) => {
        if (!(error instanceof CozeError) || error.code !== "conversation_not_found") throw error;
      });
      this.forget(id); // whether here or in another tab, it is deleted
    });
  }

  /** Leaves out one that is not there any more. */
  forget(id: string): void {
    if (this.#listed.conversations) this.#set({ conversations: this.#all.filter((one) => one.conversation_id !== id) });
  }

  get #all(): readonly Conversation[] {
    return this.#listed.conversations ?? [];
  }

  /** Does something with the list; what goes wrong is told beside it. */
  async #do(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#page;
    try {
      await work(signal);
      this.#set({ trouble: null });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof CozeError)) throw error;
      // Where there are no visitors any more (401), or nothing is remembered, there is no list.
      if (error.status === 401 || error.code === "history_off") this.#set({ conversations: null, trouble: null });
      else this.#set({ trouble: error });
    }
  }

  #set(change: Partial<Listed>): void {
    this.#listed = { ...this.#listed, ...change };
    this.#tell(this.#listed);
  }
}

function merged(first: readonly Conversation[], then: readonly Conversation[]): Conversation[] {
  const known = new Set(first.map((one) => one.conversation_id));
  return [...first, ...then.filter((one) => !known.has(one.conversation_id))];
}
