// Clients for Node.js that are made for OpenAI, unmodified. Prints what they made of the service at the base URL of the
// first argument, with the bots of the second.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";

const [base, bots, picture] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4]];
const messages = [{ role: "user", content: "Hello" }];
const openai = new OpenAI({ baseURL: base, apiKey: "sk-anything", maxRetries: 0 });
const create = (fields, options) => openai.chat.completions.create({ model: "default", messages, ...fields }, options);

const error = async (work) => {
  try {
    await work();
    return null;
  } catch (raised) {
    const { status, code, type, message } = raised;
    return { name: raised.constructor.name, status, code, type, message };
  }
};

const text = async (stream) => {
  let said = "";
  for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? "";
  return said;
};

const found = {};

const whole = await create();
found.json = whole.choices[0].message.content;
found.stream = await text(await create({ stream: true }));
found.models = (await openai.models.list()).data.map(({ id }) => id);
const again = await create({ conversation_id: whole.conversation_id });
found.conversation = again.conversation_id === whole.conversation_id;
const parts = [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url: picture } }];
found.picture = (await create({ messages: [{ role: "user", content: parts }] })).choices[0].message.content;

const stopped = await create({ model: bots["for-ever"], stream: true });
for await (const _ of stopped) break; // which aborts
found.aborted = stopped.controller.signal.aborted;

found.errors = {};
for (const name of ["code-4000", "code-4016", "code-4100", "code-5000", "reset"])
  found.errors[name] = await error(() => create({ model: bots[name] }));
found.errors.model = await error(() => create({ model: "gpt-4o" }));
found.errors.midway = await error(async () => text(await create({ model: bots.reset, stream: true })));
// With its own retries: what Coze may have taken is not asked again.
found.errors.retried = await error(() => create({ model: bots["500-json"] }, { maxRetries: 2 }));

const coze = createOpenAICompatible({ name: "coze", baseURL: base, apiKey: "sk-anything", includeUsage: true });
const ask = (model, more) => streamText({ model: coze(model), prompt: "Hello", maxRetries: 0, onError() {}, ...more });
const streamed = ask(bots.reasoning);
found.ai = { text: await streamed.text, reasoning: await streamed.reasoningText };
const counted = ask("default");
await counted.consumeStream();
found.ai.tokens = (await counted.usage).totalTokens;
found.ai.finish = await counted.finishReason;
const failures = [];
const failed = ask(bots.reset, { onError: ({ error }) => failures.push(error) });
await failed.consumeStream();
found.ai.failed = failures.map(({ message }) => message);
const leaving = new AbortController();
for await (const part of ask(bots["for-ever"], { abortSignal: leaving.signal }).fullStream)
  if (part.type === "text-delta") leaving.abort();
await ask("gpt-4o", { onError: ({ error }) => failures.push(error) }).consumeStream();
found.ai.refused = failures.at(-1).message;

console.log(JSON.stringify(found));
