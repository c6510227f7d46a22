// The same in a browser, and with those that only run there: `askAll` of the window.
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { SSE } from "sse.js";
import { ask } from "./fetch-event-source.mjs"; // the code that docs/readers.md shows
import { askAll, readers, reconnecting } from "./readers.mjs";

const headers = { "Content-Type": "application/json" };

/** Asks with sse.js and these settings. Closes it `ms` after `end`. */
function withSse(url, payload, take, settings, ms) {
  return new Promise((resolve, reject) => {
    const source = new SSE(url, { headers, payload, ...settings });
    source.onmessage = ({ data }) => {
      if (take(data).type === "end") setTimeout(() => { source.close(); resolve(); }, ms);
    };
    source.onerror = ({ data }) => reject(new Error(data));
  });
}

const all = {
  readers: {
    ...readers,
    "@microsoft/fetch-event-source": (url, body, take) => ask(url, JSON.parse(body), (event) => take(JSON.stringify(event))),
    "sse.js": (url, body, take) => withSse(url, body, take, {}, 0),
  },
  reconnecting: {
    ...reconnecting,
    "@microsoft/fetch-event-source": (url, body, take) =>
      fetchEventSource(url, { method: "POST", headers, body, onmessage: ({ data }) => take(data) }),
    "sse.js": (url, body, take) => withSse(url, body, take, { autoReconnect: true, reconnectDelay: 500 }, 2000),
  },
};
window.askAll = (questions) => askAll(questions, all);
