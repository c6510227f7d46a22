/** The raw pane: what goes over the wire, the newest last. It keeps no more than so much of it. */
import { oncePerFrame, stayAtEnd } from "./frame.js";
import { texts } from "./texts.js";

const MAX_ROWS = 500;
const MAX_CHARACTERS = 200_000; // of all rows
const MAX_IN_ROW = 10_000;
// Nobody reads faster, and the answer needs the time.
const MAX_IN_FRAME = 50; // rows
const PAUSE = 50; // milliseconds between two drawings

const rows = document.getElementById("events");
const pane = rows.parentElement;
const none = document.getElementById("no-events");
let waiting = []; // for the next frames
let characters = 0;

stayAtEnd(pane, rows);
const drawSoon = oncePerFrame(draw, PAUSE);

function draw() {
  for (const row of waiting.splice(0, MAX_IN_FRAME).map(rowOf)) {
    rows.append(row);
    characters += row.textContent.length;
  }
  while (rows.childElementCount > MAX_ROWS || characters > MAX_CHARACTERS) {
    characters -= rows.firstElementChild.textContent.length;
    rows.firstElementChild.remove();
  }
  pane.ariaBusy = String(waiting.length > 0);
  if (waiting.length) drawSoon();
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
  pane.ariaBusy = "true";
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
