// `node typescript/chat.ts [URL]`
import { about, CozeError, createCoze, type StreamEvent } from "./client.ts";
import { memory, Visitor } from "./visitor.ts";

const url = process.argv[2] ?? "http://127.0.0.1:2026";
const coze = createCoze(url, new Visitor(url, memory()));

/** The union of events is closed: a new kind of event would not compile here. */
function shown(event: StreamEvent): string {
  switch (event.type) {
    case "message_delta":
      return event.content;
    case "chat_completed":
      return `\n(conversation ${event.conversation_id}, ${event.usage?.token_count ?? "?"} tokens)\n`;
    case "chat_started":
    case "reasoning_delta":
    case "follow_up":
    case "error":
    case "end":
      return "";
    default:
      return event satisfies never;
  }
}

let conversation_id = "";
for (const content of ["My name is Ada.", "What did I say?"]) {
  for await (const event of coze.stream({ conversation_id, messages: [{ role: "user", content }] })) {
    process.stdout.write(shown(event));
    if (event.type === "chat_started") conversation_id = event.conversation_id;
  }
}

// What a page shows when it is opened again.
await coze.rename(conversation_id, "About Ada");
const { data: conversations } = await coze.conversations({});
const { data: messages } = await coze.messages(conversation_id, {});
console.log(conversations.map(({ name }) => name), messages.map(({ role }) => role));
await coze.remove(conversation_id);

const { file_id } = await coze.upload(new File(["some notes"], "notes.txt"));
const answer = await coze.chat({ messages: [about("What is in this file?", file_id)] });
console.log(answer.data.content);

const workspaces = await coze.api.GET("/api/v1/workspaces");
console.log(workspaces.data?.data.map(({ name }) => name));

try {
  await coze.chat({ bot_id: "1", messages: [{ role: "user", content: "Hello" }] });
} catch (error) {
  if (!(error instanceof CozeError)) throw error;
  console.log(`Refused: ${error.message} (HTTP ${error.status}, ${error.requestId})`);
}
