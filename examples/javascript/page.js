// A page on coze-api.js. Serve this folder (`npx vite javascript`) and open /?api=http://127.0.0.1:2026&bot=…
import { CozeAPI, CozeError, KEY_MILLISECONDS, about, newKey } from "./coze-api.js";
import { explained, words } from "./words.js";

const options = new URLSearchParams(location.search);
const [bot, api] = [options.get("bot"), new CozeAPI(options.get("api") ?? undefined)];
const named = (...ids) => ids.map((id) => document.getElementById(id));
const [log, form, message, picker, send, stop, startNew] = named("log", "form", "message", "file", "send", "stop", "startNew");
document.documentElement.lang = words.lang;
for (const element of named("title", "send", "stop", "startNew")) element.textContent = words[element.id];
for (const element of [message, picker]) element.ariaLabel = words[element.id];

// The browser keeps who asks; the tab its conversation, and the question whose answer may still come. Where it forbids
// that, as with cookies blocked, the page remembers them until it is left.
function keeper(name, prefix) {
  const memory = new Map();
  return {
    get(key) {
      try {
        return JSON.parse(window[name].getItem(prefix + key));
      } catch {
        return memory.get(key) ?? null;
      }
    },
    set(key, value) {
      try {
        window[name].setItem(prefix + key, JSON.stringify(value));
      } catch {
        memory.set(key, value);
      }
    },
  };
}
const browser = keeper("localStorage", `${api.baseURL} `);
const tab = keeper("sessionStorage", `${api.baseURL} ${bot} `);

/** Who asks: a visitor with a token, or where the service has no visitors an id that proves nothing. */
async function identify() {
  let who = browser.get("visitor");
  if (!who?.token) {
    const guest = who ?? { user_id: `guest_${newKey()}`, token: null };
    who = await api.visitor().catch((error) => {
      if (![404, 503].includes(error.status)) throw error;
      return guest;
    });
    const meanwhile = browser.get("visitor"); // in another tab
    if (meanwhile?.token) who = meanwhile;
    else browser.set("visitor", who);
  }
  api.token = who.token;
  return who;
}

// What is happening: one thing at a time.
let running = null; // { asked, aborter, stopped, lost }
let wait = 0; // for so many seconds the service wants no question
const waiting = Object.assign(document.createElement("p"), { className: "waiting" });

function update() {
  const blocked = Boolean(running || wait);
  send.disabled = blocked;
  stop.disabled = !running?.asked;
  startNew.disabled = Boolean(running);
  for (const button of log.querySelectorAll("button")) button.disabled = blocked;
  for (const button of log.querySelectorAll(".retry")) button.textContent = wait ? words.wait(wait) : words.retry;
  waiting.textContent = running?.lost ? words.lost : "…";
  if (running && (running.lost || !log.lastElementChild?.matches(".assistant"))) log.append(waiting);
  else waiting.remove();
}

async function run(now, work, again) {
  running = now;
  for (const button of log.querySelectorAll("button")) button.remove();
  update();
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError" && !(now.stopped && error.code === "answer_stopped")) fail(error, again);
  }
  running = null;
  update();
}

function fail(error, again) {
  if (error.status === 401) browser.set("visitor", null); // the next is a new one
  if (error.code === "conversation_not_found") tab.set("conversation", null); // what is asked next begins another
  const told = line("error", explained(error));
  button("retry", words.retry, () => {
    told.remove();
    again();
  });
  const end = Date.now() + (error.retryAfter ?? 0) * 1000;
  const tick = () => {
    wait = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (wait) setTimeout(tick, 1000);
    update();
  };
  tick();
}

function line(className, text) {
  const element = Object.assign(document.createElement("p"), { className, textContent: text, dir: "auto" });
  log.append(element);
  follows ||= className === "user"; // one's own question is always shown
  return element;
}

/** For a button that is gone when it was pressed: the focus must not go with it. */
function button(className, textContent, press) {
  const onclick = () => {
    log.focus();
    press();
  };
  const element = Object.assign(document.createElement("button"), { className, textContent, onclick });
  log.append(element);
  return element;
}

function thinking() {
  const details = document.createElement("details");
  details.append(Object.assign(document.createElement("summary"), { textContent: words.thinking }), document.createElement("p"));
  log.append(details);
  return details;
}

// The end stays in view, unless its reader has scrolled up.
let follows = true;
log.addEventListener("scroll", () => (follows = log.scrollHeight - log.scrollTop - log.clientHeight < 10));
new MutationObserver(() => {
  if (follows) log.scrollTop = log.scrollHeight;
}).observe(log, { childList: true, subtree: true, characterData: true });

function ask(text, file, known) {
  const asked = { text, key: newKey(), at: Date.now() };
  answer(asked, async (user_id) => {
    const type = file?.type.startsWith("image/") ? "image" : "file";
    const asks = known ?? (file ? about(text, (await api.upload(file)).file_id, type) : { role: "user", content: text });
    const conversation_id = tab.get("conversation");
    asked.request = { bot_id: bot, user_id, conversation_id, messages: [asks], on_disconnect: "continue" };
  }, file);
}

/** Shows the answer to what was asked, from its start. */
function answer(asked, prepare = async () => {}, file) {
  const now = { asked, aborter: new AbortController(), stopped: false, lost: false };
  const shown = [];
  const again = () => {
    for (const element of shown) element.remove();
    if (tab.get("asked")?.key === asked.key) answer(asked);
    else ask(asked.text, file, asked.request?.messages[0]);
  };
  return run(now, async () => {
    await prepare((await identify()).user_id);
    tab.set("asked", asked);
    const onLost = (lost) => {
      now.lost = lost;
      if (lost && now.stopped) now.aborter.abort();
      update();
    };
    const after = asked.answerId && `${asked.answerId}.0`;
    const followUps = [];
    let [spoken, thoughts] = [null, null];
    try {
      for await (const event of api.stream(asked.request, { signal: now.aborter.signal, key: asked.key, after, onLost })) {
        if (event.type === "chat_started") {
          tab.set("conversation", event.conversation_id);
          Object.assign(asked, { answerId: event.answer_id, chatId: event.chat_id, begun: true });
          tab.set("asked", event.answer_id ? asked : null); // one without a name ends with its connection
          if (now.stopped) end(now);
        } else if (event.type === "reasoning_delta") {
          if (!thoughts) shown.push((thoughts = thinking()));
          thoughts.lastChild.append(event.content);
        } else if (event.type === "message_delta") {
          if (!spoken) shown.push((spoken = line("assistant", "")));
          spoken.append(event.content);
          update();
        } else if (event.type === "follow_up") {
          followUps.push(event.content);
        }
      }
      if (!spoken) throw new CozeError("The bot gave no answer.", { code: "no_answer" });
    } catch (error) {
      // After a lost connection the answer may still go on.
      if (!["unreachable", "connection_lost"].includes(error.code)) tab.set("asked", null);
      throw error;
    }
    tab.set("asked", null);
    for (const text of followUps) button("follow-up", text, () => question(text));
  }, again);
}

/** Ends an answer. What outlives its connection has to be told to, as soon as the service has named it. */
function end(now) {
  now.stopped = true;
  const { answerId, begun } = now.asked;
  if (answerId) api.stop(answerId).catch(() => now.aborter.abort()); // what nobody follows ends by itself
  else if (begun || now.lost) now.aborter.abort();
}

function question(text, file) {
  line("user", file ? `${text} (${file.name})` : text);
  ask(text, file);
}

/** Shows what was said before a reload, and goes on with an answer that goes on. */
async function load() {
  const [conversation, asked] = [tab.get("conversation"), tab.get("asked")];
  log.replaceChildren();
  const goesOn = asked && (asked.answerId || Date.now() - asked.at < KEY_MILLISECONDS);
  const read = async () => {
    const { token } = await identify();
    for (const { role, content, chat_id } of token ? await api.messages(conversation) : []) {
      if (content && !(goesOn && asked.chatId && asked.chatId === chat_id)) line(role, content);
    }
  };
  if (conversation) await run({}, read, load);
  if (!goesOn || log.querySelector(".error")) return;
  line("user", asked.text);
  answer(asked);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [text, file] = [message.value.trim(), picker.files[0]];
  if (!text || running || wait) return; // what cannot be sent yet stays in its field
  form.reset();
  question(text, file);
});
message.addEventListener("keydown", (event) => {
  // Enter sends, but not with Shift, nor when it ends a word of an input method (229: Safari's word for that).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener("click", () => end(running));
startNew.addEventListener("click", () => {
  for (const name of ["conversation", "asked"]) tab.set(name, null);
  load();
});
update();
load();
