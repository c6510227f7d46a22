// `node typescript/chat.ts [URL]`
import { about, CozeError, createCoze, type StreamEvent } from "./client.ts";

const coze = createCoze(process.argv[2] ?? "http://127.0.0.1:2026");

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

let conversation_id: string | undefined;
for (const content of ["My name is Ada.", "What did I say?"]) {
  const question = { user_id: "user123", conversation_id, messages: [{ role: "user" as const, content }] };
  for await (const event of coze.stream(question)) {
    process.stdout.write(shown(event));
    if (event.type === "chat_completed") conversation_id = event.conversation_id;
  }
}

const { file_id } = await coze.upload(new File(["some notes"], "notes.txt"));
const answer = await coze.chat({ user_id: "user123", messages: [about("What is in this file?", file_id)] });
console.log(answer.data.content);

const workspaces = await coze.api.GET("/api/v1/workspaces");
console.log(workspaces.data?.data.map(({ name }) => name));

try {
  await coze.chat({ bot_id: "1", user_id: "user123", messages: [{ role: "user", content: "Hello" }] });
} catch (error) {
  if (!(error instanceof CozeError)) throw error;
  console.log(`Refused: ${error.message} (HTTP ${error.status}, ${error.requestId})`);
}
