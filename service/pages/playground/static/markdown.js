/** How answers in Markdown look on this page: code with a copy button, and pictures when the person asks for them. */
import { addressOf, linkTo } from "../../markdown/assets/elements.js";
import { make } from "./dom.js";
import { kept } from "./kept.js";
import { texts } from "./texts.js";

export const look = {
  code(content, language) {
    const head = make("div", { className: "head" }, make("span", { text: language }), make("button", { type: "button", className: "button small copy-code", text: texts.copy }));
    return make("div", { className: "code" }, head, make("pre", { tabIndex: 0 }, make("code", { text: content })));
  },
  words(content) {
    const code = make("code", { text: content });
    if (!AN_ID.test(content)) return code;
    return make("button", { type: "button", className: "copy-id", title: texts.copyIt(content), ariaLabel: texts.copyIt(content) }, code);
  },
  table: (table) => make("div", { className: "table", tabIndex: 0, role: "region", ariaLabel: texts.table }, table),
  picture(address, alt, link) {
    const url = addressOf(address);
    if (!url) return alt;
    if (url.href.startsWith(OWN_FILES) || picturesFromElsewhere.allowed || allowed.has(url.href)) return image(url.href, alt);
    if (link) return alt;
    if (url.protocol === "http:") return Object.assign(linkTo(address), { textContent: alt }); // the page's policy loads none of these
    const button = make("button", { type: "button", className: "button small picture", text: texts.showPicture(alt, url.host) });
    Object.assign(button.dataset, { address: url.href, alt });
    return button;
  },
};

const AN_ID = /^[\w-]{16,64}$/; // such as a bot's, which nobody types

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
