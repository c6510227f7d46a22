// A page on coze-api.js. Serve this folder (`npx vite javascript`) and open /?api=http://127.0.0.1:2026&bot=…
import { CozeAPI, about } from "./coze-api.js";

const options = new URLSearchParams(location.search);
const api = new CozeAPI(options.get("api") ?? undefined);
const [lines, form, input, picker, send, stop] = ["lines", "form", "input", "file", "send", "stop"].map((id) =>
  document.getElementById(id),
);
// An id that this browser claims. For one that is proven, and a list of conversations, see ../typescript/visitor.ts.
const user_id = (localStorage.user_id ??= `guest_${crypto.getRandomValues(new Uint32Array(4)).join("_")}`);
// What this tab keeps over a reload: its conversation, and the question whose answer may still come.
const kept = {
  get: (name) => JSON.parse(sessionStorage.getItem(name)),
  set: (name, value) => sessionStorage.setItem(name, JSON.stringify(value)),
};
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
  if (!text || running) return; // what cannot be sent yet stays in its field
  form.reset();
  show(file ? `${text} (${file.name})` : text, async () => {
    const message = file
      ? about(text, (await api.upload(file)).file_id, file.type.startsWith("image/") ? "image" : "file")
      : { role: "user", content: text };
    const conversation_id = kept.get("conversation");
    const request = { bot_id: options.get("bot"), user_id, conversation_id, messages: [message], on_disconnect: "continue" };
    return { request, key: crypto.getRandomValues(new Uint32Array(4)).join("-"), at: Date.now() };
  });
});

/** Shows a question, and the answer to what `prepare` gives. */
async function show(text, prepare) {
  running = new AbortController();
  [send.disabled, stop.disabled] = [true, false];
  line("user", text);
  let answer = null;
  try {
    const { request, key, at } = await prepare();
    kept.set("asked", { text, request, key, at });
    for await (const event of api.stream(request, { signal: running.signal, key })) {
      if (event.type === "chat_started") {
        kept.set("conversation", event.conversation_id);
        running.answerId = event.answer_id;
      }
      if (event.type !== "message_delta") continue;
      const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 10;
      answer ??= line("assistant", "");
      answer.append(event.content);
      if (atEnd) lines.scrollTop = lines.scrollHeight;
    }
  } catch (error) {
    if (error.name !== "AbortError" && error.code !== "answer_stopped") line("error", error.message);
  }
  kept.set("asked", null);
  [send.disabled, stop.disabled] = [false, true];
  running = null;
}

// After a reload the answer goes on. Its key is good for a minute.
const asked = kept.get("asked");
if (asked && Date.now() - asked.at < 60_000) show(asked.text, () => asked);

input.addEventListener("keydown", (event) => {
  // Enter sends, but not with Shift, nor when it ends a word of an input method (229: Safari's word for that).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener("click", () => {
  // What outlives its connection has to be told to stop; what nobody follows ends by itself.
  if (running.answerId) api.stop(running.answerId).catch(() => running?.abort());
  else running.abort();
});
