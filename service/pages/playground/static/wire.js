/** The raw pane: what goes over the wire, the newest last. It keeps no more than so much of it. */
import { oncePerFrame, stayAtEnd } from "./frame.js";
import { texts } from "./texts.js";

const MAX_ROWS = 500;
const MAX_CHARACTERS = 200_000; // of all rows
const MAX_IN_ROW = 10_000;

const rows = document.getElementById("events");
const none = document.getElementById("no-events");
let waiting = []; // for the next frame
let characters = 0;

stayAtEnd(rows.parentElement, rows);
const drawSoon = oncePerFrame(drawRaw);

export function drawRaw() {
  for (const row of waiting.splice(0).map(rowOf)) {
    rows.append(row);
    characters += row.textContent.length;
  }
  while (rows.childElementCount > MAX_ROWS || characters > MAX_CHARACTERS) {
    characters -= rows.firstElementChild.textContent.length;
    rows.firstElementChild.remove();
  }
}

/** Shows `text`, with the time since `since` where that is given. */
export function raw(text, className = "", since = undefined) {
  const more = text.length - MAX_IN_ROW;
  waiting.push({
    text: more > 0 ? `${text.slice(0, MAX_IN_ROW)}… ${texts.moreCharacters(more)}` : text,
    className,
    time: since === undefined ? null : `+${Math.round(performance.now() - since)} ms`,
  });
  if (waiting.length > MAX_ROWS) waiting.shift();
  none.hidden = true;
  drawSoon();
}

export function clearRaw() {
  waiting = [];
  characters = 0;
  rows.replaceChildren();
  none.hidden = false;
}

function rowOf({ text, className, time }) {
  const row = document.createElement("li");
  row.className = className;
  if (time) row.appendChild(document.createElement("time")).textContent = time;
  row.append(text);
  return row;
}
