// A chat as a page shows it, without a framework: its state and what one can do. ../react and ../vue are views of it.
import {
  about,
  type Bot,
  type Conversation,
  type Coze,
  CozeError,
  type Message,
  type PastMessage,
  type Question,
  type StreamEvent,
} from "./client.ts";
import { browser } from "./visitor.ts";

export type Line = {
  id: string;
  role: "user" | "assistant" | "error";
  text: string;
  thinking?: string;
  files?: { type: "image" | "audio" | "file"; name: string | null; url: string | null }[];
  error?: CozeError;
};

export type State = Readonly<{
  lines: readonly Line[];
  hasEarlier: boolean; // lines before these
  followUps: readonly string[];
  bot: Bot | null; // null: not known, or nobody says
  busy: "loading" | "answering" | null;
  wait: number; // for so many seconds the service wants no question
  conversations: readonly Conversation[] | null; // null: the service remembers none
  cursor: string | null; // of more conversations
  open: string | null; // the conversation; null: one that has not begun
  trouble: CozeError | null; // with the conversations
}>;

const BLANK = { lines: [], hasEarlier: false, followUps: [] } as const;

export class ChatSession {
  state: State = { ...BLANK, bot: null, busy: null, wait: 0, conversations: null, cursor: null, open: null, trouble: null };
  #coze: Coze;
  #bot: string | undefined; // undefined: the service's default bot
  #tab = browser("sessionStorage"); // each tab has a conversation of its own open
  #key: string;
  #met = false;
  #listeners = new Set<() => void>();
  #frame = 0;
  #page = new AbortController(); // of calls that last as long as the page
  #doing = new AbortController(); // of calls that last until one does something else
  #again = () => {};
  #timer: ReturnType<typeof setInterval> | undefined;
  #ids = 0;

  constructor(coze: Coze, bot?: string | null) {
    this.#coze = coze;
    this.#bot = bot ?? undefined;
    this.#key = `conversation with ${bot}`;
  }

  /** Begins where this tab was before a reload. Returns what ends all calls, and with them a chat that is running. */
  start(): () => void {
    this.#page = new AbortController();
    void this.#list();
    const open = this.#tab.getItem(this.#key);
    if (open) this.open(open);
    return () => {
      this.#page.abort();
      this.#doing.abort();
      this.#pause(0);
    };
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Asks, and returns true; or false if there is no text, or one has to wait. */
  send(text: string, file?: File): boolean {
    if (!text.trim() || this.state.busy || this.state.wait) return false;
    const files = file?.size ? [{ type: typeOf(file), name: file.name, url: null }] : [];
    this.#ask(this.#add({ role: "user", text: text.trim(), files }), file);
    return true;
  }

  /** Does again what has failed last. */
  retry(): void {
    if (!this.state.busy && !this.state.wait) this.#again();
  }

  stop(): void {
    this.#doing.abort();
  }

  startNew(): void {
    this.stop();
    this.#set(BLANK);
    this.#setOpen(null);
  }

  open(id: string): void {
    this.#set(BLANK);
    this.#setOpen(id);
    this.#do("loading", () => this.open(id), async (signal) => {
      if (!(await this.#coze.knowsWhoAsks())) return this.#setOpen(null);
      const { data, has_more } = await this.#coze.messages(id, {}, signal);
      this.#set({ lines: data.map(lineOf), hasEarlier: has_more });
    });
  }

  earlier(): void {
    const [id, before] = [this.state.open, this.state.lines[0]?.id];
    if (!id || !before || this.state.busy) return;
    this.#do("loading", () => this.open(id), async (signal) => {
      const { data, has_more } = await this.#coze.messages(id, { before }, signal);
      this.#set({ lines: [...data.map(lineOf), ...this.state.lines], hasEarlier: has_more });
    });
  }

  /** More of the list. */
  more(): Promise<void> {
    return this.#manage(async (signal) => {
      const query = { bot_id: this.#bot, cursor: this.state.cursor ?? undefined };
      const { data, next_cursor } = await this.#coze.conversations(query, signal);
      this.#set({ conversations: merged(this.state.conversations ?? [], data), cursor: next_cursor });
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.#manage(async () => {
      const renamed = await this.#coze.rename(id, name);
      const list = this.state.conversations ?? [];
      this.#set({ conversations: list.map((one) => (one.conversation_id === id ? renamed : one)) });
    });
  }

  remove(id: string): Promise<void> {
    return this.#manage(async () => {
      if (this.state.open === id) this.startNew();
      await this.#coze.remove(id).catch((error) => {
        if (!(error instanceof CozeError) || error.code !== "conversation_not_found") throw error;
      });
      this.#forget(id); // whether here or in another tab, it is deleted
    });
  }

  /** Learns which bot it is and how it opens. */
  async #meet(signal: AbortSignal): Promise<void> {
    this.#bot ??= (await this.#coze.config(signal)).default_bot_id ?? undefined;
    this.#met = true;
    if (!this.#bot) return;
    try {
      const bot = await this.#coze.bot(this.#bot, signal);
      this.#bot = bot.bot_id; // it may have been a name
      this.#set({ bot });
    } catch (error) {
      if (!(error instanceof CozeError)) throw error; // not every Coze tells
    }
  }

  #ask(id: string, file?: File, message?: Message): void {
    const retry = () => {
      const end = this.state.lines.findIndex((line) => line.id === id) + 1;
      this.#set({ lines: this.state.lines.slice(0, end) }); // without what failed, and half an answer before it
      this.#ask(id, file, message);
    };
    this.#set({ followUps: [] });
    this.#do("answering", retry, async (signal) => {
      try {
        message ??= await this.#message(id, file, signal);
        const question = { bot_id: this.#bot, conversation_id: this.state.open, messages: [message] };
        for await (const event of this.#events(question, signal)) this.#hear(event);
        const { role, text } = this.state.lines.at(-1)!;
        if (role !== "assistant" || !text) throw new CozeError({ code: "no_answer", message: "The bot gave no answer." });
      } finally {
        void this.#list();
      }
    });
  }

  /** The events of an answer. It is asked for again while one that was stopped is still ending. */
  async *#events(question: Question, signal: AbortSignal, patience = 5): AsyncGenerator<StreamEvent> {
    try {
      yield* this.#coze.stream(question, signal);
    } catch (error) {
      if (!(error instanceof CozeError) || error.code !== "conversation_busy" || !patience) throw error;
      await passed(error.retryAfter ?? 1, signal);
      yield* this.#events(question, signal, patience - 1);
    }
  }

  async #message(id: string, file: File | undefined, signal: AbortSignal): Promise<Message> {
    const content = this.state.lines.find((line) => line.id === id)!.text;
    if (!file?.size) return { role: "user", content };
    const { file_id, file_url } = await this.#coze.upload(file, signal);
    this.#change(id, (line) => ({ ...line, files: [{ type: typeOf(file), name: file.name, url: file_url }] }));
    return about(content, file_id, typeOf(file));
  }

  #hear(event: StreamEvent): void {
    switch (event.type) {
      case "chat_started": // kept from now on, should the answer be stopped or cut
        if (event.conversation_id === this.state.open) return;
        this.#setOpen(event.conversation_id);
        return void this.#list();
      case "message_delta":
        return this.#change(this.#answer(), (line) => ({ ...line, text: line.text + event.content }));
      case "reasoning_delta":
        return this.#change(this.#answer(), (line) => ({ ...line, thinking: (line.thinking ?? "") + event.content }));
      case "follow_up":
        return this.#set({ followUps: [...this.state.followUps, event.content] });
    }
  }

  /** The line of the answer, which begins with its first piece. */
  #answer(): string {
    const last = this.state.lines.at(-1);
    return last?.role === "assistant" ? last.id : this.#add({ role: "assistant", text: "" });
  }

  #add(line: Omit<Line, "id">): string {
    const id = `line-${++this.#ids}`;
    this.#set({ lines: [...this.state.lines, { id, ...line }] });
    return id;
  }

  #change(id: string, changed: (line: Line) => Line): void {
    this.#set({ lines: this.state.lines.map((line) => (line.id === id ? changed(line) : line)) });
  }

  #setOpen(open: string | null): void {
    this.#set({ open });
    this.#tab.setItem(this.#key, open ?? "");
  }

  /** Does one thing at a time: what was done before is ended. */
  async #do(busy: State["busy"], again: () => void, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.stop();
    const doing = (this.#doing = new AbortController());
    this.#again = again;
    this.#set({ busy });
    try {
      await work(doing.signal);
    } catch (error) {
      if (!doing.signal.aborted) this.#fail(error);
    } finally {
      if (this.#doing === doing) this.#set({ busy: null });
    }
  }

  #fail(error: unknown): void {
    if (!(error instanceof CozeError)) throw error;
    if (error.code === "conversation_not_found" && this.state.open) {
      this.#forget(this.state.open);
      this.#setOpen(null); // what is asked next begins another
    }
    this.#add({ role: "error", text: error.message, error });
    this.#pause(error.retryAfter ?? 0);
  }

  /** Reads the newest part of the list. What was read of the rest stays. */
  #list(): Promise<void> {
    return this.#manage(async (signal) => {
      if (!this.#met) await this.#meet(signal);
      if (!(await this.#coze.knowsWhoAsks())) return;
      const { data, next_cursor } = await this.#coze.conversations({ bot_id: this.#bot }, signal);
      const end = data.at(-1)?.updated_at ?? "";
      const rest = next_cursor ? (this.state.conversations ?? []).filter((one) => one.updated_at <= end) : [];
      const conversations = merged(data, rest);
      const cursor = conversations.length > data.length ? this.state.cursor : next_cursor;
      this.#set({ conversations, cursor });
    });
  }

  /** Does something with the list; what goes wrong is told beside it. */
  async #manage(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
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

  #forget(id: string): void {
    this.#set({ conversations: this.state.conversations?.filter((one) => one.conversation_id !== id) ?? null });
  }

  /** Counts down the seconds that the service wants to be left alone. */
  #pause(seconds: number): void {
    const end = Date.now() + seconds * 1000;
    const tick = () => {
      const wait = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      if (!wait) clearInterval(this.#timer);
      this.#set({ wait });
    };
    clearInterval(this.#timer);
    this.#timer = setInterval(tick, 1000);
    tick();
  }

  /** Tells the view once a frame: an answer may come in faster than it can be drawn. */
  #set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const listener of this.#listeners) listener();
    });
  }
}

/** What can be asked with a click: at first what the bot's maker suggests, then what the bot does. */
export function suggested({ lines, open, bot, followUps }: State): readonly string[] {
  return lines.length || open ? followUps : (bot?.suggested_questions ?? []);
}

/** The bot's opening line, which stands before the first question. */
export function opening({ hasEarlier, busy, bot }: State, guest: string): string {
  return hasEarlier || busy === "loading" || !bot ? "" : bot.prologue.replaceAll("{{user_name}}", guest);
}

function passed(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

function typeOf(file: File): "image" | "file" {
  return file.type.startsWith("image/") ? "image" : "file";
}

function lineOf({ message_id, role, content, reasoning_content, files }: PastMessage): Line {
  return { id: message_id, role, text: content, thinking: reasoning_content, files };
}

function merged(first: readonly Conversation[], then: readonly Conversation[]): Conversation[] {
  const known = new Set(first.map((one) => one.conversation_id));
  return [...first, ...then.filter((one) => !known.has(one.conversation_id))];
}
