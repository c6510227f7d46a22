/** Small texts that the browser keeps for this page. One host may serve several services, each under a path of its own. */
const PREFIX = `${location.pathname} `;

/** `name` is that of the storage. Where the browser forbids it, as with cookies blocked, the page remembers until it is left. */
function keeper(name) {
  const memory = new Map();
  return {
    /** The text, or null. */
    get(what) {
      try {
        return window[name].getItem(PREFIX + what);
      } catch {
        return memory.get(what) ?? null;
      }
    },
    /** Keeps the text, or with null forgets it. */
    set(what, text) {
      try {
        if (text === null) window[name].removeItem(PREFIX + what);
        else window[name].setItem(PREFIX + what, text);
      } catch {
        if (text === null) memory.delete(what);
        else memory.set(what, text);
      }
    },
  };
}

export const kept = keeper("localStorage");
export const keptInTab = keeper("sessionStorage"); // over a reload, until the tab is closed
