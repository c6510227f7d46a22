// Axios: `node axios/chat.mjs [URL]`. It reads streams in Node.js; in a browser stream with fetch (see ../javascript).
import axios from "axios";

const api = axios.create({ baseURL: `${process.argv[2] ?? "http://127.0.0.1:2026"}/api/v1`, timeout: 120_000 });

// Every error answer has a message for people, and an id to quote.
api.interceptors.response.use(
  (response) => response,
  (error) => Promise.reject(new Error(error.response?.data?.message ?? error.message, { cause: error })),
);

const question = (content, more) => ({ user_id: "user123", messages: [{ role: "user", content }], ...more });

const { data: first } = await api.post("/chat", question("My name is Ada."));
console.log(first.data.content);

const { data: second } = await api.post("/chat", question("What did I say?", { conversation_id: first.conversation_id }));
console.log(second.data.content);

const form = new FormData();
form.append("file", new Blob(["some notes"]), "notes.txt");
const { data: file } = await api.post("/upload", form);
console.log(`${file.file_name} is ${file.file_id}`);

const { data: stream } = await api.post("/chat", question("你好", { stream: true }), { responseType: "stream" });
stream.setEncoding("utf8"); // keeps characters whole that are cut between two chunks
let rest = "";
for await (const chunk of stream) {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop();
  for (const line of lines.filter((line) => line.startsWith("data: "))) {
    const event = JSON.parse(line.slice(6));
    if (event.type === "message_delta") process.stdout.write(event.content);
  }
}
console.log();

await api.post("/chat", question("Hello", { bot_id: "1" })).catch((error) => {
  console.log(`Refused: ${error.message} (HTTP ${error.cause.response.status}, ${error.cause.response.headers["x-request-id"]})`);
});
