/**
 * Markdown as elements. The parser's tokens are made into elements one by one, and no text is ever read as HTML, so
 * nothing that a bot says can run: where a page's policy asks for trusted types, the browser refuses any other way.
 */
import MarkdownIt from "../vendor/markdown-it.esm.min.mjs";

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

const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** The elements that a page may want otherwise. Nothing is loaded from elsewhere here: a picture is a link to it. */
export const PLAIN = {
  code(content, _language) {
    const block = make("pre", { tabIndex: 0 });
    block.append(make("code", { textContent: content }));
    return block;
  },
  words: (content) => make("code", { textContent: content }),
  table(table) {
    const scroller = make("div", { className: "table", tabIndex: 0 });
    scroller.append(table);
    return scroller;
  },
  /** `link` is the one that the picture stands in, if it does. */
  picture(address, alt, link) {
    return link || !addressOf(address) ? alt : Object.assign(linkTo(address), { textContent: alt || address });
  },
};

/** The elements of the tokens, one for each block. */
export function elementsOf(tokens, look = PLAIN) {
  const all = document.createDocumentFragment();
  build(tokens, all, look);
  return all;
}

function build(tokens, root, look) {
  const open = [root];
  for (const token of tokens) {
    const parent = open.at(-1);
    if (token.hidden) continue; // the paragraph of a list without blank lines
    if (token.nesting < 0) open.pop();
    else if (token.nesting > 0) open.push(opened(token, parent, look));
    else if (token.type === "inline") build(token.children, parent, look);
    else parent.append(leaf(token, parent, look));
  }
}

const TAGS = new Set(["p", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s"]);

/** An element for what other tokens are in, in its place. */
function opened(token, parent, look) {
  if (token.tag === "a") return parent.appendChild(linkTo(token.attrGet("href")));
  if (token.type === "heading_open") return parent.appendChild(make("h3", { className: token.tag, dir: "auto" }));
  const element = make(TAGS.has(token.tag) ? token.tag : "span");
  // What has a bullet, a number or a bar is laid out as a whole: its paragraphs have no direction of their own.
  const isPart = token.tag === "p" && parent.matches?.("li, blockquote");
  if (["p", "li", "blockquote", "th", "td"].includes(token.tag) && !isPart) element.dir = "auto";
  if (token.tag === "ol") element.start = token.attrGet("start") ?? 1;
  if (token.attrGet("style")) element.style.textAlign = token.attrGet("style").replace("text-align:", ""); // of a column
  parent.append(token.tag === "table" ? look.table(element) : element);
  return element;
}

function leaf(token, parent, look) {
  switch (token.type) {
    case "fence":
    case "code_block":
      return look.code(token.content, token.info.trim().split(/\s/)[0]);
    case "code_inline":
      return look.words(token.content);
    case "image":
      return look.picture(token.attrGet("src"), token.content, parent.closest?.("a"));
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
export function addressOf(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  return ["http:", "https:"].includes(url?.protocol) ? url : null;
}

export function linkTo(text) {
  const url = addressOf(text);
  return url ? make("a", { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }) : make("span");
}
