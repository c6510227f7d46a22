/** An answer in Markdown that grows. What is whole is drawn once; only the block at the end is drawn again. */
import { elementsOf, parse } from "./elements.js";
import { openFence, withoutHalves } from "./unfinished.js";

/** Resolves when the next frame is drawn, or after a second: a hidden page has no frames. */
export function nextFrame() {
  return new Promise((resolve) => {
    requestAnimationFrame(resolve);
    setTimeout(resolve, 1000);
  });
}

const passed = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const PORTION = 2000; // characters that a frame draws
// A block that is larger is cut, since all of it is drawn again each time.
const MAX_CHARACTERS = 16_000;
const MAX_TOKENS = 1500;
const QUICK = 8; // milliseconds that a frame may take and the next one be drawn at once

export class GrowingMarkdown {
  text = "";
  #element;
  #look;
  #waiting = ""; // what came and is not drawn
  #tail = ""; // the source of the blocks that may still change
  #settled = 0; // how many elements will not change any more
  #references = {};
  #isDrawing = false;
  #isOver = false;

  /** `look` says how a page wants its elements (see `PLAIN`). */
  constructor(element, look) {
    this.#element = element;
    this.#look = look;
  }

  add(text) {
    this.text += text;
    this.#waiting += text;
    this.#drawOn();
  }

  /** Whether more waits to be drawn than one frame draws. */
  get isBehind() {
    return this.#waiting.length > PORTION;
  }

  /** Draws what is left. A short text is there at once, a long one when the promise resolves. */
  async end() {
    this.#isOver = true;
    for (;;) {
      this.#draw(true);
      if (!this.#waiting) break;
      await nextFrame();
    }
    // Only now is each reference known that stood before its target.
    if (this.text.length > MAX_CHARACTERS || !/^ {0,3}\[.+?\]:/m.test(this.text)) return;
    this.#settled = 0;
    this.#put(parse(this.text, {}));
  }

  async #drawOn() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    while (this.#waiting) {
      await nextFrame();
      if (this.#isOver) return;
      const begun = performance.now();
      this.#draw(false);
      await passed(0); // the browser lays out and paints, which takes longer than to make the elements
      const taken = performance.now() - begun;
      if (taken > QUICK) await passed(taken); // for keys and clicks
    }
    this.#isDrawing = false;
  }

  #draw(isEnd) {
    const portion = this.#waiting.slice(0, PORTION);
    this.#waiting = this.#waiting.slice(portion.length);
    this.#tail += portion;
    const isWhole = isEnd && !this.#waiting;
    const tokens = parse(isWhole ? this.#tail : withoutHalves(this.#tail), { ...this.#references });
    this.#put(tokens);
    if (isWhole) return;
    this.#settle(tokens);
    const count = tokens.reduce((sum, { children }) => sum + 1 + (children?.length ?? 0), 0);
    if (this.#tail.length > MAX_CHARACTERS || count > MAX_TOKENS) this.#cut(tokens.findLast((token) => token.level === 0 && token.map));
  }

  #put(tokens) {
    morph(this.#element, elementsOf(tokens, this.#look), this.#settled);
  }

  /** Takes the blocks out of the tail that whole lines of another block follow. */
  #settle(tokens) {
    const lines = this.#tail.split("\n");
    const starts = tokens.filter((token) => token.level === 0 && token.nesting >= 0 && token.map).map((token) => token.map[0]);
    const at = starts.findLastIndex((line) => line < lines.length - 1);
    if (at < 1) return;
    this.#settled += at;
    parse(lines.slice(0, starts[at]).join("\n"), this.#references);
    this.#tail = lines.slice(starts[at]).join("\n");
  }

  /** Ends the long block `token` with its last whole line, and begins another one of its kind. */
  #cut(token) {
    const line = this.#tail.lastIndexOf("\n") + 1;
    const splitsPair = /[\uD800-\uDBFF]$/.test(this.#tail);
    const end = line > this.#tail.length / 2 ? line : this.#tail.length - Number(splitsPair);
    const part = this.#tail.slice(0, end);
    const goesOn = { fence: openFence(part), table_open: token?.map[1] >= part.split("\n").length - 1 }[token?.type];
    const head = goesOn ? part.split("\n", token.type === "fence" ? 1 : 2) : [];
    this.#put(parse(part, this.#references));
    this.#settled = this.#element.childNodes.length;
    this.#tail = head.map((text) => `${text}\n`).join("") + this.#tail.slice(end);
  }
}

/**
 * Makes the children of `old` from number `from` on those of `fresh`. Elements that stay the same stay, with what the
 * reader has selected in them.
 */
function morph(old, fresh, from = 0) {
  const [were, are] = [[...old.childNodes].slice(from), [...fresh.childNodes]];
  are.forEach((node, at) => {
    const was = were[at];
    if (!was) old.append(node);
    else if (was.nodeType === Node.TEXT_NODE && node.nodeType === Node.TEXT_NODE) grow(was, node.data);
    else if (isAlike(was, node)) morph(was, node);
    else was.replaceWith(node);
  });
  were.slice(are.length).forEach((node) => node.remove());
}

function isAlike(was, node) {
  const [old, fresh] = [was, node].map(({ attributes }) => [...(attributes ?? [])]);
  return was.nodeName === node.nodeName && old.length === fresh.length && fresh.every(({ name, value }) => was.getAttribute(name) === value);
}

function grow(node, text) {
  if (text === node.data) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}
