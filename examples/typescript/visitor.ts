// Who asks, on a site without a login: a visitor, whose token is got once and kept. A site with a login gives
// `createCoze` a `User` of its own instead, with the token of that.
import { createCoze, type Identity, random, refusal, type User } from "./client.ts";

export type Keeper = Pick<Storage, "getItem" | "setItem">;

/** Keeps until the page is left. */
export function memory(): Keeper {
  const kept = new Map<string, string>();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
}

export function browser(storage: "localStorage" | "sessionStorage"): Keeper {
  try {
    return window[storage];
  } catch {
    return memory(); // the browser forbids it, as some do in a frame
  }
}

export class Visitor implements User {
  #api;
  #key: string;
  #keeper: Keeper;
  #guest = false; // whether the service gave no token since this page was opened
  #asking: Promise<Identity> | undefined;

  constructor(baseUrl: string, keeper = browser("localStorage")) {
    this.#api = createCoze(baseUrl).api;
    this.#key = `visitor of ${baseUrl}`;
    this.#keeper = keeper;
  }

  async identity(): Promise<Identity> {
    const kept = this.#kept();
    return kept && (kept.token || this.#guest) ? kept : this.renew(null);
  }

  /** A refused token's visitor cannot be proven any more, so the next is a new one. Throws CozeError. */
  renew(refused: string | null): Promise<Identity> {
    this.#asking ??= exclusively(this.#key, () => this.#ask(refused)).finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #ask(refused: string | null): Promise<Identity> {
    const before = this.#kept();
    if (before?.token && before.token !== refused) return before; // another tab has asked
    const { data, error, response } = await this.#api.POST("/api/v1/visitors");
    // No visitors here (404), or nothing is remembered (503): one still chats, with an id that proves nothing.
    this.#guest = response.status === 404 || response.status === 503;
    if (!data && !this.#guest) throw refusal(error, response);
    const kept = this.#kept(); // where tabs cannot wait for each other, the first answer counts
    if (kept && (data ? kept.token && kept.token !== refused : !kept.token)) return kept;
    const { user_id, token } = data?.data ?? { user_id: `guest_${random()}`, token: null };
    this.#keeper.setItem(this.#key, JSON.stringify({ user_id, token }));
    return { user_id, token };
  }

  #kept(): Identity | null {
    return JSON.parse(this.#keeper.getItem(this.#key) ?? "null");
  }
}

/** One at a time in all tabs of a browser. Plain http has no such locks, nor has a frame that may keep nothing. */
async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  let begun = false;
  const begin = () => {
    begun = true;
    return work();
  };
  try {
    return await navigator.locks.request(name, begin);
  } catch (error) {
    if (begun) throw error;
    return work();
  }
}
