/**
 * Markdown as elements. The parser's tokens are made into elements one by one, and no text is ever read as HTML, so
 * nothing that a bot says can run: the page's policy (trusted types) has the browser refuse any other way.
 */
import MarkdownIt from "../vendor/markdown-it.esm.min.mjs";
import { make } from "./dom.js";
import { kept } from "./kept.js";
import { texts } from "./texts.js";

const parser = new MarkdownIt({ html: false, linkify: true, breaks: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

// CommonMark has no mark end between a punctuation mark and a letter, where Chinese and Japanese have no space.
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const { State } = parser.inline;
const { scanDelims } = State.prototype;
State.prototype.scanDelims = function (start, canSplitWord) {
  const run = scanDelims.call(this, start, canSplitWord);
  const [before, after] = [this.src.slice(start - 1, start), this.src.slice(start + run.length, start + run.length + 1)];
  if (!canSplitWord || !EAST_ASIAN.test(before + after)) return run;
  return { ...run, can_open: /\S/.test(after), can_close: /\S/.test(before) };
};

/** The tokens of a text. `references` are the link targets that it names, which the parser adds to. */
export const parse = (text, references) => parser.parse(text, { references });

/** The elements of the tokens, one for each block. */
export function elementsOf(tokens) {
  const all = document.createDocumentFragment();
  build(tokens, all);
  return all;
}

function build(tokens, root) {
  const open = [root];
  for (const token of tokens) {
    const parent = open.at(-1);
    if (token.hidden) continue; // the paragraph of a list without blank lines
    if (token.nesting < 0) open.pop();
    else if (token.nesting > 0) open.push(opened(token, parent));
    else if (token.type === "inline") build(token.children, parent);
    else parent.append(leaf(token, parent));
  }
}

const TAGS = new Set(["p", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s"]);

/** An element for what other tokens are in, in its place. */
function opened(token, parent) {
  if (token.tag === "a") return parent.appendChild(linkTo(token.attrGet("href")));
  if (token.type === "heading_open") return parent.appendChild(make("h3", { className: token.tag, dir: "auto" }));
  const element = make(TAGS.has(token.tag) ? token.tag : "span");
  if (["p", "li", "th", "td"].includes(token.tag)) element.dir = "auto";
  if (token.tag === "ol") element.start = token.attrGet("start") ?? 1;
  if (token.attrGet("style")) element.style.textAlign = token.attrGet("style").replace("text-align:", ""); // of a column
  if (token.tag === "table") parent.append(make("div", { className: "table", tabIndex: 0, role: "region", ariaLabel: texts.table }, element));
  else parent.append(element);
  return element;
}

function leaf(token, parent) {
  switch (token.type) {
    case "fence":
    case "code_block":
      return code(token.content, token.info.trim().split(/\s/)[0]);
    case "code_inline":
      return AN_ID.test(token.content) ? copiedAtOnce(token.content) : make("code", { text: token.content });
    case "image":
      return picture(token.attrGet("src"), token.content, parent.closest?.("a"));
    case "hr":
      return make("hr");
    case "hardbreak":
    case "softbreak":
      return make("br");
    default:
      return token.content;
  }
}

/** The address of a page, or null: no script, no data, nothing of this host by a path alone. */
function addressOf(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  return ["http:", "https:"].includes(url?.protocol) ? url : null;
}

function linkTo(text) {
  const url = addressOf(text);
  return url ? make("a", { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }) : make("span");
}

const AN_ID = /^[\w-]{16,64}$/; // such as a bot's, which nobody types

function copiedAtOnce(text) {
  return make("button", { type: "button", className: "copy-id", title: texts.copyIt(text), ariaLabel: texts.copyIt(text) }, make("code", { text }));
}

function code(content, language) {
  const head = make("div", { className: "head" }, make("span", { text: language }), make("button", { type: "button", className: "button small copy-code", text: texts.copy }));
  return make("div", { className: "code" }, head, make("pre", { tabIndex: 0 }, make("code", { text: content })));
}

// Pictures. To load one from elsewhere tells that place about the person, and what the bot has put into the address.

const OWN_FILES = new URL("api/v1/files/", document.baseURI).href;
const allowed = new Set(); // addresses that the person has asked for

export const picturesFromElsewhere = {
  get allowed() {
    return kept.get("pictures") === "all";
  },
  set allowed(yes) {
    kept.set("pictures", yes ? "all" : null);
    if (yes) document.querySelectorAll(".picture").forEach(showPicture);
  },
};

function picture(address, alt, link) {
  const url = addressOf(address);
  if (!url) return alt;
  if (url.href.startsWith(OWN_FILES) || picturesFromElsewhere.allowed || allowed.has(url.href)) return image(url.href, alt);
  if (link) return alt;
  if (url.protocol === "http:") return named(linkTo(address), alt); // the page's policy loads none of these
  const button = make("button", { type: "button", className: "button small picture", text: texts.showPicture(alt, url.host) });
  Object.assign(button.dataset, { address: url.href, alt });
  return button;
}

const named = (element, text) => Object.assign(element, { textContent: text });
const image = (src, alt) => make("img", { alt, loading: "lazy", referrerPolicy: "no-referrer", src });

function showPicture(button) {
  allowed.add(button.dataset.address);
  if (document.activeElement === button) button.closest("[tabindex]").focus({ preventScroll: true });
  button.replaceWith(image(button.dataset.address, button.dataset.alt));
}

// An answer that grows keeps its elements where it can, so what is done with them is not theirs.
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".picture, .copy-code, .copy-id");
  if (button?.matches(".picture")) showPicture(button);
  else if (button?.matches(".copy-id")) copy(button.textContent, button);
  else if (button) copy(button.closest(".code").querySelector("code").textContent, button);
});

/** Copies a text, and has `button` say for a moment that it did. */
export async function copy(text, button) {
  const said = button.ariaLabel ?? button.textContent;
  let result = texts.copied;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    result = texts.notCopied;
  }
  if (button.dataset.said) return; // it says so already
  button.dataset.said = said;
  const say = (words) => {
    if (button.ariaLabel) button.ariaLabel = button.title = words;
    else button.textContent = words;
  };
  say(result);
  setTimeout(() => {
    say(said);
    delete button.dataset.said;
  }, 2000);
}
