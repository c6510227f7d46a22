/** Which answers of this tab are still coming, so that after a reload it goes on with them. */
import { keptInTab } from "./kept.js";

const MAX = 8; // answers
const MAX_QUESTION = 100_000; // characters of a question that is kept
const FRESH = 60_000; // milliseconds in which a question that had no answer yet is sent once more, by the same key

function read() {
  return JSON.parse(keptInTab.get("running")) ?? [];
}

function write(all) {
  keptInTab.set("running", JSON.stringify(all.slice(-MAX)));
}

/** Keeps an answer: `{ key, body, answerId, conversationId, text }`. */
export function remember(entry) {
  const others = read().filter(({ key }) => key !== entry.key);
  if (JSON.stringify(entry).length <= MAX_QUESTION) write([...others, { at: Date.now(), ...entry }]);
}

export function forget(key) {
  write(read().filter((entry) => entry.key !== key));
}

/** The answer that is still coming in a conversation, or undefined. */
export function runningIn(conversationId) {
  const entry = read().findLast((one) => one.conversationId === conversationId);
  return entry && (entry.answerId || Date.now() - entry.at < FRESH) ? entry : undefined;
}
