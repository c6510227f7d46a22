/** Small texts that the browser keeps for this page. One host may serve several services, each under a path of its own. */
const PREFIX = `${location.pathname} `;
const memory = new Map(); // where the browser keeps nothing, such as with cookies blocked: until the page is closed

export const kept = {
  /** The text, or null. */
  get(name) {
    try {
      return localStorage.getItem(PREFIX + name);
    } catch {
      return memory.get(name) ?? null;
    }
  },
  /** Keeps the text, or with null forgets it. */
  set(name, text) {
    try {
      if (text === null) localStorage.removeItem(PREFIX + name);
      else localStorage.setItem(PREFIX + name, text);
    } catch {
      if (text === null) memory.delete(name);
      else memory.set(name, text);
    }
  },
};
