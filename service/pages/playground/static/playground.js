/** The page: what its controls do, and how it starts. */
import { ask, resume, suggestion } from "./asking.js";
import { readBots, showBot, startBot } from "./bot.js";
import { startComposer } from "./composer.js";
import { readList, startConversations } from "./conversations.js";
import { $, isComposing, make } from "./dom.js";
import { keptInTab } from "./kept.js";
import { copy, picturesFromElsewhere } from "./markdown.js";
import { follow, followFirst, gone, keep, newConversation, startOpened } from "./opened.js";
import { present } from "./present.js";
import { callJson, callerKnown, hasToken, keepUser, showUser } from "./service.js";
import { snippet } from "./snippets.js";
import { texts, translate } from "./texts.js";
import { clearRaw } from "./wire.js";

const HEALTH_SECONDS = 30;
const question = $("question");

function stop() {
  present.running?.stop();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing(event) && !document.querySelector("dialog[open]")) stop();
});
$("stop").addEventListener("click", () => {
  stop();
  question.focus();
});
$("new").addEventListener("click", () => {
  if (present.conversationId && location.hash) history.pushState(null, "", location.href); // "back" opens it again
  newConversation();
  question.focus();
});
$("clear").addEventListener("click", clearRaw);
$("key").addEventListener("change", () => {
  keptInTab.set("api-key", $("key").value.trim() || null);
  changeCaller();
  readConfig().catch(() => {});
  readBots();
  showBot();
});
$("user").addEventListener("change", () => {
  keepUser();
  changeCaller();
});
$("bot").addEventListener("change", () => {
  keep(null); // a conversation belongs to its bot
  showBot();
});
$("pictures").checked = picturesFromElsewhere.allowed;
$("pictures").addEventListener("change", () => {
  picturesFromElsewhere.allowed = $("pictures").checked;
});
addEventListener("hashchange", follow);
document.addEventListener("callerchange", readList);

$("settings").addEventListener("submit", (event) => event.preventDefault());
$("settings").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("input:not([type=checkbox])") || isComposing(event)) return;
  event.preventDefault(); // else the question, which has the focus then, gets a new line
  question.focus();
});
$("copies").addEventListener("click", ({ target }) => {
  if (target.value) copy(snippet(target.value, { url: new URL("api/v1/chat", document.baseURI).href, body: present.sent, hasToken: hasToken() }), target);
});
document.addEventListener("presentchange", () => {
  $("copies").hidden = !present.sent;
});

/** Another caller has other conversations. */
function changeCaller() {
  showUser();
  keep(null);
  callerKnown().then(readList);
}

// The start

async function showHealth() {
  const health = $("health");
  const [words, version] = health.children;
  const show = (good, text, number = "") => {
    health.className = `health ${good ? "good" : "bad"}`;
    [words.textContent, version.textContent] = [text, number];
  };
  try {
    const answer = await (await fetch("health")).json();
    if (answer.status === "healthy") show(true, texts.ready, `· ${answer.version}`);
    else show(false, texts.notReady);
    health.title = answer.message;
  } catch {
    show(false, texts.unreachable);
  }
}

async function readConfig() {
  const data = (await callJson("api/v1/config")).data;
  if (data.default_bot_id) $("bot").placeholder = data.default_bot_id;
  showUser(data.default_user_id);
  if (data.environment !== "sandbox") return;
  $("bots").replaceChildren(...Object.entries(texts.bots).map(([value, label]) => make("option", { value, label })));
}

translate(document.documentElement);
$("key").value = keptInTab.get("api-key") ?? "";
$("key-field").hidden = !$("key").value;
showUser();
startBot(suggestion);
startComposer(ask);
startOpened(resume);
showHealth();
setInterval(() => document.hidden || showHealth(), HEALTH_SECONDS * 1000);
addEventListener("online", showHealth);
addEventListener("offline", showHealth);
document.addEventListener("unreachable", showHealth);
document.addEventListener("reached", () => $("health").matches(".bad") && showHealth());
readConfig().catch(() => {});
startConversations(gone);
readBots();
followFirst();
document.documentElement.dataset.ready = "true";
