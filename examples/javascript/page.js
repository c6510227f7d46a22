// A page on coze-api.js. Serve this folder (`npx vite javascript`) and open /?api=http://127.0.0.1:2026&bot=…
import { CozeAPI, about } from "./coze-api.js";

const options = new URLSearchParams(location.search);
const api = new CozeAPI(options.get("api") ?? undefined);
const [lines, form, input, picker, send, stop] = ["lines", "form", "input", "file", "send", "stop"].map((id) =>
  document.getElementById(id),
);
// An id that this browser claims. For one that is proven, and a list of conversations, see ../typescript/visitor.ts.
const user_id = (localStorage.user_id ??= `guest_${crypto.getRandomValues(new Uint32Array(4)).join("_")}`);
let conversation_id = null;
let running = null;

function line(className, text) {
  const element = Object.assign(document.createElement("p"), { className, textContent: text, dir: "auto" });
  lines.append(element);
  element.scrollIntoView();
  return element;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [text, file] = [input.value.trim(), picker.files[0]];
  if (!text || running) return;
  running = new AbortController();
  form.reset();
  [send.disabled, stop.disabled] = [true, false];
  line("user", file ? `${text} (${file.name})` : text);
  let answer = null;
  try {
    const message = file
      ? about(text, (await api.upload(file)).file_id, file.type.startsWith("image/") ? "image" : "file")
      : { role: "user", content: text };
    const request = { bot_id: options.get("bot"), user_id, conversation_id, messages: [message] };
    for await (const event of api.stream(request, { signal: running.signal })) {
      if (event.type === "chat_started") conversation_id = event.conversation_id;
      if (event.type !== "message_delta") continue;
      const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 10;
      answer ??= line("assistant", "");
      answer.append(event.content);
      if (atEnd) lines.scrollTop = lines.scrollHeight;
    }
  } catch (error) {
    if (error.name !== "AbortError") line("error", error.message);
  }
  [send.disabled, stop.disabled] = [false, true];
  running = null;
});
input.addEventListener("keydown", (event) => {
  // Enter sends, but not with Shift, nor when it ends a word of an input method (229: Safari's word for that).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener("click", () => running?.abort());
