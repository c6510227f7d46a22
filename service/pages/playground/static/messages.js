/** Questions and answers as they stand on the page: those of this moment, and those that the service remembers. */
import { GrowingMarkdown } from "../../markdown/assets/growing.js";
import { icon, iconButton, make } from "./dom.js";
import { GrowingText } from "./frame.js";
import { copy, look } from "./markdown.js";
import { rating } from "./rating.js";
import { hasHistory } from "./service.js";
import { texts } from "./texts.js";

const said = (className, who) => make("div", { className: `message ${className}` }, make("span", { className: "hidden", text: who }));

/** A picture or the name of a file, with a link to it where it can be seen. `file` is one that was just picked. */
function shownFile({ type, name, url, file }) {
  const words = make("span", { className: "bubble file" }, icon("file"), make("span", { text: name || texts.file, dir: "auto" }));
  let shown = words;
  if (type === "image" && (url || file)) {
    shown = make("img", { alt: name || texts.picture });
    const asPicked = () => Object.assign(shown, { onerror: null, src: URL.createObjectURL(file) });
    const asNamed = () => shown.replaceWith(words);
    if (url) Object.assign(shown, { onerror: file ? asPicked : asNamed, src: url });
    else asPicked();
  }
  return url ? make("a", { href: url, target: "_blank", rel: "noopener", className: "sent" }, shown) : shown;
}

/** A question with its files, which can be asked again: its event "again" says with what. */
export function questionOf(text, files) {
  const element = said("user", texts.you);
  const again = (edit) => () => element.dispatchEvent(new CustomEvent("again", { bubbles: true, detail: { text, files, edit } }));
  const askAgain = iconButton("again", texts.askAgain, again(false));
  askAgain.classList.add("asks");
  const actions = make("div", { className: "actions" }, iconButton("rename", texts.editQuestion, again(true)), askAgain);
  element.append(...files.map(shownFile), make("p", { className: "bubble", text, dir: "auto" }), actions);
  return element;
}

/** An answer of the bot's; what arrives is added to it. */
export class Answer {
  constructor() {
    this.bubble = make("div", { className: "bubble markdown", dir: "auto" });
    this.words = new GrowingMarkdown(this.bubble, look);
    this.element = said("bot", texts.theBot);
    this.element.append(this.bubble);
    this.element.ariaBusy = "true"; // a screen reader waits for the end
  }

  /** Whether more waits to be drawn than one frame draws. */
  get isBehind() {
    return this.words.isBehind || Boolean(this.thoughts?.isBehind);
  }

  add(content) {
    this.words.add(content);
  }

  think(content, open = true) {
    if (!this.thoughts) {
      const thoughts = make("p", { dir: "auto" });
      this.thoughts = new GrowingText(thoughts);
      this.bubble.before(make("details", { className: "thinking", open }, make("summary", { text: texts.thinking }), thoughts));
    }
    this.thoughts.add(content);
  }

  /** Says how long it takes, or what it waits for. */
  wait(text) {
    this.waiting ??= this.element.appendChild(make("p", { className: "about" }));
    this.waiting.textContent = text;
  }

  suggest(button) {
    this.suggestions ??= make("div", { className: "suggestions" });
    this.suggestions.append(button);
  }

  /** Ends the answer. `below` stands under it; an answer without a word says so if it is `whole`. A long one takes some frames. */
  async end(below, whole) {
    this.thoughts?.draw();
    const drawn = this.words.end();
    if (!this.words.text && whole) this.bubble.append(make("em", { text: texts.nothing }));
    this.waiting?.remove();
    const copyAnswer = iconButton("copy", texts.copyAnswer, () => copy(this.words.text, copyAnswer));
    this.element.append(make("div", { className: "below" }, ...(this.words.text ? [copyAnswer] : []), ...below));
    if (this.suggestions) this.element.append(this.suggestions);
    await drawn;
    this.element.ariaBusy = "false";
  }
}

/** What stands under an answer: short notes, and the buttons to rate it where that can be. */
export function below(notes, conversationId, messageId) {
  const parts = [make("p", { className: "about", text: notes.filter(Boolean).join(" · ") })];
  if (hasHistory() && conversationId && messageId) parts.push(rating(conversationId, messageId));
  return parts;
}
