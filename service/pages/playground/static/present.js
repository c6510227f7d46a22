/** What the page is at, which its modules share, and the log that shows it. */
import { $ } from "./dom.js";
import { stayAtEnd } from "./frame.js";

export const present = {
  conversationId: null, // of the next question; null begins a conversation
  running: null, // the Asking that is being answered
  opening: null, // the AbortController of the conversation that is being opened
  sent: null, // what the newest chat asked
};

/** Changes it, and has the event "presentchange" say so. */
export function change(fields) {
  Object.assign(present, fields);
  document.dispatchEvent(new Event("presentchange"));
}

export const [turns, welcome] = ["turns", "welcome"].map($);
export const goToEnd = stayAtEnd($("log"), turns, (stays) => {
  $("newest").hidden = stays;
});

$("newest").addEventListener("click", () => {
  goToEnd();
  readOn();
});

/** Has the keyboard go on in the log, for a button that goes. */
export function readOn() {
  $("log").focus({ preventScroll: true });
}

/** Puts something at the end of the log. */
export function show(...elements) {
  welcome.remove();
  turns.append(...elements);
}
