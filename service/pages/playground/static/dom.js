/** Elements of the page. Text only ever goes in as text, so nothing that a bot says can become part of the page. */

export const $ = (id) => document.getElementById(id);

/** A new element. */
export function make(tag, { text, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export function button(text, onclick, className = "button") {
  return make("button", { type: "button", text, onclick, className });
}

const ICONS = {
  file: "m20 11-8.500 8.500a5 5 0 0 1-7-7L13 4a3.300 3.300 0 0 1 4.700 4.700l-8.500 8.500a1.700 1.700 0 0 1-2.400-2.400L14.500 7",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  again: "M20 11a8 8 0 1 0-2.300 6M20 5v6h-6",
  rename: "m4 20 1-4L16 5l3 3L8 19zm9-12 3 3",
  remove: "M4 7h16M10 7V4h4v3M6 7l1 13h10l1-13M10 11v5m4-5v5",
  like: "M7 11v9H4v-9zm0 0 4-8c2 0 3 1 2.600 3L13 9h6l-1.500 11H7",
  unlike: "M7 13V4H4v9zm0 0 4 8c2 0 3-1 2.600-3L13 15h6L17.500 4H7",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.appendChild(document.createElementNS(svg.namespaceURI, "path")).setAttribute("d", ICONS[name]);
  return svg;
}

/** A button that shows an icon and is called `label`. */
export function iconButton(name, label, onclick) {
  return make("button", { type: "button", onclick, className: "button icon", title: label, ariaLabel: label }, icon(name));
}

/** Whether a key is part of composing a character (229: Safari's way to say so), where Enter chooses a word. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Tells those who do not see the page. Of a very long text they get the beginning. */
export function announce(text) {
  $("announcer").textContent = text.slice(0, 2000);
}
