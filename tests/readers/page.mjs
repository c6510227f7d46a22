// The same in a browser, and with those that only run there: `askAll` of the window.
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { SSE } from "sse.js";
import { EventSource as FromNpm } from "eventsource";
import { ask } from "./fetch-event-source.mjs"; // the code that docs/readers.md shows
import { followWithFetchEventSource, followWithXRequest } from "./following.mjs"; // so is this
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

/** Asks by POST until the answer has an id, and follows it by GET. */
async function followByGet(EventSource, url, question, key, onEvent) {
  const body = JSON.stringify({ ...question, stream: true, on_disconnect: "continue" });
  let id;
  while (!id) {
    try {
      const response = await fetch(url, { method: "POST", headers: { ...headers, "Idempotency-Key": key }, body });
      id = response.headers.get("Answer-ID");
      response.body.cancel().catch(() => {});
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
  await new Promise((resolve, reject) => {
    const source = new EventSource(`${new URL(url).origin}/api/v1/answers/${id}/events`);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      onEvent(event);
      if (event.type !== "end") return;
      source.close();
      resolve();
    };
    source.onerror = () => source.readyState === EventSource.CLOSED && reject(new Error("It gave up."));
  });
}

/** Readers of answers that outlive their connections. */
const follow = {
  "@microsoft/fetch-event-source": followWithFetchEventSource,
  "@ant-design/x-sdk XRequest": followWithXRequest,
  eventsource: (...asked) => followByGet(FromNpm, ...asked),
  "the browser's EventSource": (...asked) => followByGet(EventSource, ...asked),
};
const following = Object.fromEntries(
  Object.entries(follow).map(([name, reader]) => [
    name,
    (url, body, take, key) => reader(url, JSON.parse(body), key, (event) => take(JSON.stringify(event))),
  ]),
);

const all = {
  following,
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
