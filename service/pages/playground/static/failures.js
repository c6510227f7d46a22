/** What went wrong, as a card in the log, with a button to try again. */
import { $, button, make } from "./dom.js";
import { present, readOn, show, turns } from "./present.js";
import { texts } from "./texts.js";

const MAX_COUNTDOWN = 120; // seconds

/** A button that asks the bot something. */
export function asking(text, onclick) {
  const element = button(text, onclick, "button asks");
  enable(element);
  return element;
}

/** Switches a button on or off: off until its `until` (see countDown), and while the bot answers if it asks. */
function enable(element) {
  element.disabled = performance.now() < element.until || (Boolean(present.running) && element.matches(".asks"));
}

document.addEventListener("presentchange", () => turns.querySelectorAll("button").forEach(enable));

export function showFailure(failure, retry) {
  const card = make("div", { className: "error" });
  card.setAttribute("role", "alert");
  const status = failure.status ? ` · HTTP ${failure.status}` : "";
  card.append(make("strong", { text: failure.title + status }), make("p", { className: "what", text: failure.message }));
  if (failure.requestId) {
    card.append(make("p", { className: "about", text: `${texts.requestId} ` }, make("code", { text: failure.requestId })));
  }
  show(card);
  if (failure.status === 401) card.append(button(texts.enterKey, enterKey));
  if (!retry) return;
  card.append(retry);
  retry.addEventListener("click", () => {
    card.remove();
    readOn();
  });
  // A short wait is counted down. A long one, as for a used-up quota, is the person's to judge.
  if (failure.retryAfter > MAX_COUNTDOWN) card.append(make("p", { className: "about", text: texts.waitLong(Math.ceil(failure.retryAfter / 60)) }));
  else if (failure.retryAfter) countDown(retry, failure.retryAfter);
}

/** Brings the field for a key into view, wherever it is. */
function enterKey() {
  $("key-field").hidden = false;
  $("key").scrollIntoView({ block: "center" });
  $("key").focus();
}

/** Switches a button of the page off for so long, and has it say so. */
function countDown(element, seconds) {
  const { textContent } = element;
  element.until = performance.now() + seconds * 1000;
  const timer = setInterval(tick, 500);
  function tick() {
    const left = Math.ceil((element.until - performance.now()) / 1000);
    element.textContent = left > 0 ? texts.retryIn(left) : textContent;
    enable(element);
    if (left <= 0 || !element.isConnected) clearInterval(timer);
  }
  tick();
}
