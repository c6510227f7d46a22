// A chat as a page shows it, without a framework: its state and what one can do. ../react and ../vue are views of it.
import { type Asked, AskedQuestions } from "./asked.ts";
import {
  about,
  type Bot,
  type Coze,
  CozeError,
  countDown,
  type Message,
  type PastMessage,
  passed,
  random,
  type StreamEvent,
} from "./client.ts";
import { Conversations, type Listed } from "./conversations.ts";
import { browser } from "./visitor.ts";

type ChatStarted = Extract<StreamEvent, { type: "chat_started" }>;

export type Line = {
  id: string;
  role: "user" | "assistant" | "error";
  text: string;
  thinking?: string;
  files?: { type: "image" | "audio" | "file"; name: string | null; url: string | null }[];
  error?: CozeError;
  chat_id?: string | null; // of a message that Coze keeps
};

export type State = Readonly<{
  lines: readonly Line[];
  hasEarlier: boolean; // lines before these
  followUps: readonly string[];
  bot: Bot | null; // null: not known, or nobody says
  busy: "loading" | "answering" | null;
  lost: boolean; // whether the connection is being made again
  wait: number; // for so many seconds the service wants no question
  open: string | null; // the conversation; null: one that has not begun
}> &
  Readonly<Listed>;

const BLANK = { lines: [], hasEarlier: false, followUps: [] } as const;
/** Failures behind which the answer may still go on. */
const GOES_ON = ["unreachable", "connection_lost"];

export class ChatSession {
  state: State = { ...BLANK, bot: null, busy: null, lost: false, wait: 0, conversations: null, cursor: null, open: null, trouble: null };
  #coze: Coze;
  #bot: string | undefined; // undefined: the service's default bot
  #tab = browser("sessionStorage"); // each tab has a conversation of its own open
  #key: string;
  #asked: AskedQuestions;
  #conversations: Conversations;
  #following: Asked | null = null; // the question whose answer comes in
  #onDisconnect: "continue" | "cancel";
  #met = false;
  #listeners = new Set<() => void>();
  #frame = 0;
  #doing = new AbortController(); // of calls that last until one does something else
  #again = () => {};
  #endPause = () => {};

  /**
   * `onDisconnect`: whether an answer goes on for some minutes when the page is left or reloaded, to be followed again,
   * or ends, as it does where the service keeps no answers.
   */
  constructor(coze: Coze, bot?: string | null, onDisconnect: "continue" | "cancel" = "continue") {
    this.#coze = coze;
    this.#bot = bot ?? undefined;
    this.#key = `conversation with ${bot}`;
    this.#asked = new AskedQuestions(this.#tab, `questions to ${bot}`);
    this.#conversations = new Conversations(coze, (listed) => this.#set(listed));
    this.#onDisconnect = onDisconnect;
  }

  /** Begins where this tab was before a reload. Returns what ends all calls when the page is left. */
  start(): () => void {
    const end = this.#conversations.start();
    this.#list();
    const open = this.#tab.getItem(this.#key) || null;
    if (open || this.#asked.in(null)) this.open(open);
    return () => {
      end();
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

  /** Ends the answer. One that outlives its connection has to be told so, as soon as the service has named it. */
  stop(): void {
    const asked = this.#following;
    if (asked) asked.stopped = true;
    if (asked?.answer_id) void this.#end(asked.answer_id);
    else if (!asked || this.state.lost) this.#doing.abort();
  }

  startNew(): void {
    this.#doing.abort();
    this.#set(BLANK);
    this.#setOpen(null);
  }

  /** Shows a conversation, and goes on with an answer in it that goes on. null: one that has not begun. */
  open(id: string | null): void {
    this.#set(BLANK);
    this.#setOpen(id);
    this.#do("loading", () => this.open(id), async (signal) => {
      if (id && (await this.#coze.knowsWhoAsks())) await this.#read(id, signal);
      const asked = this.#asked.in(id);
      if (asked) await this.#follow(asked, signal);
      else if (!(await this.#coze.knowsWhoAsks())) this.#setOpen(null);
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

  more(): void {
    void this.#conversations.more(this.#bot);
  }

  rename(id: string, name: string): void {
    void this.#conversations.rename(id, name);
  }

  remove(id: string): void {
    if (this.state.open === id) this.startNew();
    void this.#conversations.remove(id);
  }

  #list(): void {
    void this.#conversations.read((signal) => this.#meet(signal));
  }

  /** Learns which bot it is and how it opens. */
  async #meet(signal: AbortSignal): Promise<string | undefined> {
    if (this.#met) return this.#bot;
    this.#bot ??= (await this.#coze.config(signal)).default_bot_id ?? undefined;
    if (this.#bot) {
      try {
        const bot = await this.#coze.bot(this.#bot, signal);
        this.#bot = bot.bot_id; // it may have been a name
        this.#set({ bot });
      } catch (error) {
        if (!(error instanceof CozeError)) throw error; // not every Coze tells
      }
    }
    this.#met = true; // only now: a first start may have been ended on the way
    return this.#bot;
  }

  /** Reads the newest messages of a conversation. */
  async #read(id: string, signal: AbortSignal): Promise<void> {
    const { data, has_more } = await this.#coze.messages(id, {}, signal);
    this.#set({ lines: data.map(lineOf), hasEarlier: has_more });
  }

  #ask(id: string, file?: File, message?: Message): void {
    this.#set({ followUps: [] });
    const again = () => {
      this.#cut(id);
      this.#ask(id, file, message);
    };
    this.#do("answering", again, async (signal) => {
      message ??= await this.#message(id, file, signal);
      const conversation_id = this.state.open;
      const question = { bot_id: this.#bot, conversation_id, messages: [message], on_disconnect: this.#onDisconnect };
      const line = this.state.lines.find((one) => one.id === id)!;
      await this.#follow({ key: random(), at: Date.now(), question, line, conversation_id }, signal);
    });
  }

  /** Hears the answer to a question from its start. */
  async #follow(asked: Asked, signal: AbortSignal): Promise<void> {
    const { question, line } = asked;
    const again = () => {
      this.#cut(line.id);
      const goesOn = this.#asked.in(asked.conversation_id)?.key === asked.key;
      if (goesOn) this.#do("answering", again, (signal) => this.#follow(asked, signal));
      else this.#ask(line.id, undefined, question.messages[0]);
    };
    this.#again = again;
    // What Coze has of it already is in the events, too.
    const others = this.state.lines.filter(({ id, chat_id }) => id !== line.id && (!chat_id || chat_id !== asked.chat_id));
    this.#set({ lines: [...others, line], followUps: [], busy: "answering" });
    try {
      for await (const event of this.#events(asked, signal)) this.#hear(event, asked);
      const { role, text } = this.state.lines.at(-1)!;
      if (role !== "assistant" || !text) throw new CozeError({ code: "no_answer", message: "The bot gave no answer." });
      this.#asked.forget(asked);
    } catch (error) {
      const left = signal.aborted && !asked.stopped;
      if (!left && !(error instanceof CozeError && GOES_ON.includes(error.code))) this.#asked.forget(asked);
      if (!(error instanceof CozeError)) throw error;
      if (error.code === "answer_stopped" && asked.stopped) return;
      if (error.code !== "answer_not_found" || !(await this.#readAfterwards(asked, signal))) throw error;
    } finally {
      if (this.#following === asked) this.#following = null;
      this.#list();
    }
  }

  /** The events of an answer. It is asked for again while one that was stopped is still ending. */
  async *#events(asked: Asked, signal: AbortSignal, patience = 5): AsyncGenerator<StreamEvent> {
    if (asked.question.on_disconnect === "continue") {
      this.#following = asked;
      this.#asked.keep(asked);
    }
    const after = asked.answer_id && `${asked.answer_id}.0`;
    const onLost = (lost: boolean) => lost !== this.state.lost && this.#set({ lost });
    try {
      yield* this.#coze.stream(asked.question, { signal, key: asked.key, after, onLost });
    } catch (error) {
      if (!(error instanceof CozeError) || error.code !== "conversation_busy" || !patience) throw error;
      await passed(error.retryAfter ?? 1, signal);
      asked.key = random(); // under the old one the failure is kept
      yield* this.#events(asked, signal, patience - 1);
    }
  }

  /** Reads from the conversation what is not kept as an answer any more; returns whether it is there. */
  async #readAfterwards({ chat_id, conversation_id }: Asked, signal: AbortSignal): Promise<boolean> {
    if (!chat_id || !conversation_id || !(await this.#coze.knowsWhoAsks())) return false;
    const { lines, hasEarlier } = this.state;
    await this.#read(conversation_id, signal);
    if (this.state.lines.some((line) => line.chat_id === chat_id && line.role === "assistant" && line.text)) return true;
    this.#set({ lines, hasEarlier });
    return false;
  }

  async #end(answer_id: string): Promise<void> {
    const doing = this.#doing;
    try {
      await this.#coze.stop(answer_id); // whoever follows it is told
    } catch {
      doing.abort(); // what nobody follows ends by itself
    }
  }

  /** Leaves out what comes behind a question. */
  #cut(id: string): void {
    const end = this.state.lines.findIndex((line) => line.id === id) + 1;
    this.#set({ lines: this.state.lines.slice(0, end) });
  }

  async #message(id: string, file: File | undefined, signal: AbortSignal): Promise<Message> {
    const content = this.state.lines.find((line) => line.id === id)!.text;
    if (!file?.size) return { role: "user", content };
    const { file_id, file_url } = await this.#coze.upload(file, signal);
    this.#change(id, (line) => ({ ...line, files: [{ type: typeOf(file), name: file.name, url: file_url }] }));
    return about(content, file_id, typeOf(file));
  }

  #hear(event: StreamEvent, asked: Asked): void {
    switch (event.type) {
      case "chat_started":
        return this.#begin(asked, event);
      case "message_delta":
        return this.#change(this.#answer(), (line) => ({ ...line, text: line.text + event.content }));
      case "reasoning_delta":
        return this.#change(this.#answer(), (line) => ({ ...line, thinking: (line.thinking ?? "") + event.content }));
      case "follow_up":
        return this.#set({ followUps: [...this.state.followUps, event.content] });
    }
  }

  /** Keeps the conversation, should the answer be stopped or cut, and where the answer is to be had again. */
  #begin(asked: Asked, { conversation_id, chat_id, answer_id }: ChatStarted): void {
    this.#asked.forget(asked); // it had no conversation
    if (answer_id) {
      Object.assign(asked, { conversation_id, chat_id, answer_id });
      this.#asked.keep(asked);
      if (asked.stopped) void this.#end(answer_id);
    } else {
      this.#following = null; // this answer ends with its connection
      if (asked.stopped) this.#doing.abort();
    }
    if (conversation_id === this.state.open) return;
    this.#setOpen(conversation_id);
    this.#list();
  }

  /** The line of the answer, which begins with its first piece. */
  #answer(): string {
    const last = this.state.lines.at(-1);
    return last?.role === "assistant" ? last.id : this.#add({ role: "assistant", text: "" });
  }

  #add(line: Omit<Line, "id">): string {
    const id = random();
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
    this.#doing.abort();
    const doing = (this.#doing = new AbortController());
    this.#again = again;
    this.#set({ busy, lost: false });
    try {
      await work(doing.signal);
    } catch (error) {
      if (!doing.signal.aborted) this.#fail(error);
    } finally {
      if (this.#doing === doing) this.#set({ busy: null, lost: false });
    }
  }

  #fail(error: unknown): void {
    if (!(error instanceof CozeError)) throw error;
    if (error.code === "conversation_not_found" && this.state.open) {
      this.#conversations.forget(this.state.open);
      this.#setOpen(null); // what is asked next begins another
    }
    this.#add({ role: "error", text: error.message, error });
    this.#pause(error.retryAfter ?? 0);
  }

  /** Counts down the seconds that the service wants to be left alone. */
  #pause(seconds: number): void {
    this.#endPause();
    this.#endPause = countDown(seconds, (wait) => this.#set({ wait }));
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

function typeOf(file: File): "image" | "file" {
  return file.type.startsWith("image/") ? "image" : "file";
}

function lineOf({ message_id, role, content, reasoning_content, files, chat_id }: PastMessage): Line {
  return { id: message_id, role, text: content, thinking: reasoning_content, files, chat_id };
}
