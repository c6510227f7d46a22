// A page on coze-api.js. Serve this folder (`npx vite javascript`) and open /?api=http://127.0.0.1:2026&bot=…
import { CozeAPI, about } from "./coze-api.js";

const options = new URLSearchParams(location.search);
const api = new CozeAPI(options.get("api") ?? undefined);
const [lines, form, input, picker, stop] = ["lines", "form", "input", "file", "stop"].map((id) => document.getElementById(id));
let conversation_id = null;
let running = null;

function line(className, text) {
  const element = Object.assign(document.createElement("p"), { className, textContent: text });
  lines.append(element);
  return element;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [text, file] = [input.value.trim(), picker.files[0]];
  if (!text || running) return;
  running = new AbortController();
  form.reset();
  stop.disabled = false;
  line("user", file ? `${text} (${file.name})` : text);
  const answer = line("assistant", "");
  try {
    const message = file
      ? about(text, (await api.upload(file)).file_id, file.type.startsWith("image/") ? "image" : "file")
      : { role: "user", content: text };
    const request = { bot_id: options.get("bot"), user_id: "user123", conversation_id, messages: [message] };
    for await (const event of api.stream(request, { signal: running.signal })) {
      if (event.type === "message_delta") answer.append(event.content);
      if (event.type === "chat_completed") conversation_id = event.conversation_id;
    }
  } catch (error) {
    if (error.name !== "AbortError") line("error", error.message);
  }
  stop.disabled = true;
  running = null;
});
stop.addEventListener("click", () => running?.abort());
