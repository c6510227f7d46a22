// Readers of event streams, as they come from npm. Each is a function that asks one question: `url` and `body` (JSON) of
// the POST, `take` for the data of each event, which gives the event back. It resolves when the reader has come to the
// end, and rejects when it has failed.

import { parseJsonEventStream } from "@ai-sdk/provider-utils";
import { XRequest, XStream } from "@ant-design/x-sdk";
import { EventSourcePlus } from "event-source-plus";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { events } from "fetch-event-stream";
import { z } from "zod";
import { messagesOf } from "./coze-api.mjs"; // of examples/javascript

const method = "POST";
const headers = { "Content-Type": "application/json" };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function post(url, body) {
  const response = await fetch(url, { method, headers, body });
  if (!response.ok) throw new Error((await response.json()).message);
  return response;
}

/** With the settings of docs/readers.md. */
export const readers = {
  async "eventsource-parser"(url, body, take) {
    const { body: bytes } = await post(url, body);
    const messages = bytes.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { data } of messages) take(data);
  },

  async "fetch-event-stream"(url, body, take) {
    for await (const { data } of events(await post(url, body))) take(data);
  },

  async "fetch messagesOf"(url, body, take) {
    for await (const { data } of messagesOf((await post(url, body)).body)) take(data);
  },

  async "@ai-sdk/provider-utils parseJsonEventStream"(url, body, take) {
    const { body: stream } = await post(url, body);
    for await (const { rawValue } of parseJsonEventStream({ stream, schema: z.unknown() })) take(JSON.stringify(rawValue));
  },

  async "@ant-design/x-sdk XStream"(url, body, take) {
    const { body: readableStream } = await post(url, body);
    for await (const { data } of XStream({ readableStream })) take(data);
  },

  "@ant-design/x-sdk XRequest": (url, body, take) =>
    new Promise((onSuccess, onError) => {
      const onUpdate = ({ data }) => take(data);
      XRequest(url, { params: JSON.parse(body), callbacks: { onUpdate, onSuccess, onError } });
    }),

  eventsource: (url, body, take) =>
    new Promise((resolve, reject) => {
      const source = new EventSource(url, {
        fetch: (address, init) => fetch(address, { ...init, method, headers: { ...init.headers, ...headers }, body }),
      });
      source.onmessage = ({ data }) => {
        if (take(data).type !== "end") return;
        source.close();
        resolve();
      };
      source.onerror = ({ message }) => {
        source.close();
        reject(new Error(message));
      };
    }),

  "eventsource-client": (url, body, take) =>
    new Promise((resolve, reject) => {
      const source = createEventSource({
        url, method, headers, body,
        onMessage({ data }) {
          if (take(data).type !== "end") return;
          source.close();
          resolve();
        },
        onScheduleReconnect() {
          source.close();
          reject(new Error("The answer was refused or broke off."));
        },
      });
    }),

  "event-source-plus": (url, body, take) =>
    new Promise((resolve, reject) => {
      const source = new EventSourcePlus(url, { method, headers, body, retryStrategy: "on-error", maxRetryCount: 1 });
      const listening = source.listen({ onMessage: ({ data }) => take(data) });
      listening.onAbort(({ type, reason }) => (type === "end-of-stream" ? resolve() : reject(new Error(reason))));
    }),
};

/** Resolves some time after `end` was taken: the readers connect again after three seconds at most. */
async function longAfterEnd(take) {
  while (take.last?.type !== "end") await sleep(50);
  await sleep(3500);
}

/** Readers that reconnect, left to do so. */
export const reconnecting = {
  async eventsource(url, body, take) {
    const source = new EventSource(url, {
      fetch: (address, init) => fetch(address, { ...init, method, headers: { ...init.headers, ...headers }, body }),
    });
    source.onmessage = ({ data }) => take(data);
    await longAfterEnd(take);
    source.close();
  },

  async "eventsource-client"(url, body, take) {
    const source = createEventSource({ url, method, headers, body, onMessage: ({ data }) => take(data) });
    await longAfterEnd(take);
    source.close();
  },

  async "event-source-plus"(url, body, take) {
    const listening = new EventSourcePlus(url, { method, headers, body }).listen({ onMessage: ({ data }) => take(data) });
    await longAfterEnd(take);
    listening.abort();
  },
};

/** Asks a question, and notes what comes of it in `outcome`. */
async function ask(reader, { url, body, key }, outcome) {
  const take = (data) => {
    const event = JSON.parse(data);
    if (event.type === "message_delta") outcome.text += event.content;
    if (event.type === "error") outcome.failure = event.message;
    if (event.type === "end") outcome.ended = true;
    return (take.last = event);
  };
  try {
    await Promise.race([reader(url, body, take, key), sleep(60_000).then(() => Promise.reject("It went on for a minute."))]);
  } catch (error) {
    outcome.failure ??= String(error);
  }
}

/**
 * Asks all questions at once, with the readers in `all`, and leaves time for asking again. A question: `reader`, `way`
 * ("readers", "reconnecting" or "following"), `url`, `body`, and to follow its answer a `key`. What came of each, as far
 * as it has come: the global `outcomes`.
 */
export async function askAll(questions, all) {
  const outcomes = (globalThis.outcomes = questions.map(() => ({ text: "", ended: false, failure: null })));
  await Promise.all(questions.map((asked, at) => ask(all[asked.way][asked.reader], asked, outcomes[at])));
  await sleep(3500); // the readers connect again after three seconds at most
  return outcomes;
}
