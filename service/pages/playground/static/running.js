/** Which answers of this tab are still coming, so that after a reload it goes on with them. */
const NAME = `${location.pathname} running`;
const MAX = 8; // answers
const MAX_QUESTION = 100_000; // characters of a question that is kept
const FRESH = 60_000; // milliseconds in which a question that had no answer yet is sent once more, by the same key

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? [];
  } catch {
    return []; // with cookies blocked, a reload begins anew
  }
}

function write(all) {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(all.slice(-MAX)));
  } catch {
    // as above
  }
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
