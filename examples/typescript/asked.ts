// The questions of a tab whose answers outlive their connection: after a reload they are followed again.
import { KEY_MILLISECONDS, type Question } from "./client.ts";
import type { Line } from "./session.ts";
import type { Keeper } from "./visitor.ts";

export type Asked = {
  key: string; // with which the question is asked once
  at: number; // when, in milliseconds
  question: Question;
  line: Line; // as the page shows it
  conversation_id: string | null; // null: not begun
  chat_id?: string;
  answer_id?: string; // once the service has named it
  stopped?: true; // by the person who asked
};

export class AskedQuestions {
  #keeper: Keeper;
  #name: string;

  constructor(keeper: Keeper, name: string) {
    this.#keeper = keeper;
    this.#name = name;
  }

  /** The one in a conversation whose answer can still be followed. */
  in(conversation_id: string | null): Asked | undefined {
    const asked = this.#all().find((one) => one.conversation_id === conversation_id);
    return asked && (asked.answer_id || Date.now() - asked.at < KEY_MILLISECONDS) ? asked : undefined;
  }

  keep(asked: Asked): void {
    this.#save([...this.#others(asked), asked]);
  }

  forget(asked: Asked): void {
    this.#save(this.#others(asked));
  }

  #others(asked: Asked): Asked[] {
    return this.#all().filter((one) => one.key !== asked.key && one.conversation_id !== asked.conversation_id);
  }

  #all(): Asked[] {
    return JSON.parse(this.#keeper.getItem(this.#name) ?? "[]");
  }

  #save(all: Asked[]): void {
    this.#keeper.setItem(this.#name, JSON.stringify(all));
  }
}
