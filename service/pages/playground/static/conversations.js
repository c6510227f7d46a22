/** The side bar: the user's conversations, the one used last first. Where there is little room it is a drawer. */
import { $, announce, button, iconButton, isComposing, make } from "./dom.js";
import { callJson, callerKnown, hasHistory, isGone, json, owned } from "./service.js";
import { texts, whenOf } from "./texts.js";

const PATH = "api/v1/conversations";
const MAX_NAME = 100;
const narrow = matchMedia("(max-width: 76rem)");
const [bar, list, more, drawer, confirm, trouble] = ["history", "conversations", "more", "drawer", "confirm", "trouble"].map($);

let entries = []; // as the service lists them
let cursor = null; // of the next page
let rows = new Map(); // of the list, by the conversation's id
let openId = null;
let reading = new AbortController(); // of the present caller's list
let isRead = false; // at least its newest part
let refused = false; // the service lists nothing for the caller
let onGone;

/** Shows the list. `gone` is called with the id of a conversation that was deleted, and whether it was here. */
export function startConversations(gone) {
  onGone = gone;
  narrow.addEventListener("change", place);
  place();
  callerKnown().then(readList);
  // Another tab may have asked meanwhile.
  document.addEventListener("visibilitychange", () => isRead && !document.hidden && read());
}

export const pathOf = (id) => `${PATH}/${id}`;

/** The part of the address that names a conversation and its bot. It is empty for a new one with the default bot. */
export function fragmentOf(conversationId, botId) {
  const given = Object.entries({ bot_id: botId, conversation_id: conversationId }).filter(([, value]) => value);
  return given.length ? `#${new URLSearchParams(given)}` : "";
}

/** Reads the list of the present caller. */
export function readList() {
  reading.abort();
  reading = new AbortController();
  [entries, cursor, isRead, refused] = [[], null, false, false];
  draw();
  if (hasHistory()) read();
}

/** Marks the open conversation; with `used` it goes to the top. */
export function mark(id, used = false) {
  openId = id;
  if (used && hasHistory()) {
    const at = entries.findIndex((entry) => entry.conversation_id === id);
    if (at < 0) read();
    else entries.unshift({ ...entries.splice(at, 1)[0], updated_at: new Date().toISOString() });
  }
  draw();
}

/** Takes a conversation out of the list. */
export function drop(id) {
  entries = entries.filter((entry) => entry.conversation_id !== id);
  draw();
}

// The list

/** Reads the page at the cursor `from`, or the newest conversations. */
async function read(from = null) {
  const { signal } = reading;
  trouble.replaceChildren();
  try {
    take(await callJson(owned(PATH, { cursor: from }), { signal }), from);
  } catch (error) {
    if (error.name === "AbortError") return;
    refused = error.status === 401 || error.code === "history_off";
    tell(error, () => read(from));
  }
  draw();
}

function take({ data, next_cursor: next }, from) {
  isRead = true;
  const ids = new Set(data.map((entry) => entry.conversation_id));
  const others = (some) => some.filter((entry) => !ids.has(entry.conversation_id));
  const last = entries.findIndex((entry) => entry.conversation_id === data.at(-1)?.conversation_id);
  if (from) {
    entries = [...others(entries), ...data];
    cursor = next;
  } else if (next && last >= 0) {
    entries = [...data, ...others(entries.slice(last + 1))]; // what was read below the newest page still holds
  } else {
    [entries, cursor] = [data, next];
  }
}

function tell(error, again) {
  const retry = button(texts.retry, () => {
    bar.focus();
    again();
  }, "button small");
  trouble.replaceChildren(make("p", { className: "hint", role: "alert", text: error.message }), retry);
}

function draw() {
  showBar();
  rows = new Map(entries.map((entry) => [entry.conversation_id, rows.get(entry.conversation_id) ?? new Row()]));
  entries.forEach((entry, at) => {
    const row = rows.get(entry.conversation_id);
    row.show(entry);
    if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null);
  });
  while (list.childElementCount > entries.length) list.lastElementChild.remove();
  $("no-conversations").hidden = !isRead || entries.length > 0;
  more.hidden = !cursor;
  $("chat-title").textContent = rows.get(openId)?.name ?? texts.conversation;
}

let pressed = false; // a pointer, on something that must not move, or it loses the click
for (const type of ["pointerdown", "pointerup", "pointercancel"]) {
  addEventListener(type, () => {
    pressed = type === "pointerdown";
    setTimeout(showBar);
  }, true);
}

function showBar() {
  if (pressed) return;
  bar.hidden = $("menu").hidden = refused || !hasHistory();
  if (bar.hidden) drawer.close();
}

/** A conversation in the list: a link to it, and buttons to rename and to delete it. */
class Row {
  #link = make("a", {}, make("span", { className: "name", dir: "auto" }), make("time"));
  #rename = iconButton("rename", "", () => this.#edit());
  #delete = iconButton("remove", "", () => this.#remove());
  element = make("li", {}, this.#link, this.#rename, this.#delete);

  show(entry) {
    this.entry = entry;
    this.name = entry.name || texts.unnamed;
    const [name, when] = this.#link.children;
    const used = new Date(entry.updated_at);
    name.textContent = this.name;
    when.textContent = whenOf(used);
    when.dateTime = entry.updated_at;
    this.#link.href = fragmentOf(entry.conversation_id, entry.bot_id);
    this.#link.ariaCurrent = entry.conversation_id === openId ? "page" : null;
    this.#rename.ariaLabel = this.#rename.title = texts.renameIt(this.name);
    this.#delete.ariaLabel = this.#delete.title = texts.deleteIt(this.name);
  }

  /** Puts a field in the link's place. Enter and going elsewhere keep the name, Escape does not. */
  #edit() {
    const field = make("input", { value: this.entry.name, maxLength: MAX_NAME, ariaLabel: texts.newName, dir: "auto" });
    let over = false;
    const end = (name) => {
      if (over) return;
      over = true;
      const focused = document.activeElement === field;
      field.replaceWith(this.#link);
      if (focused) this.#link.focus();
      if (name && name !== this.entry.name) this.#save(name);
    };
    field.addEventListener("keydown", (event) => {
      if (isComposing(event) || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault(); // nor does Escape close the drawer
      event.stopPropagation(); // nor stop an answer
      end(event.key === "Enter" ? field.value.trim() : "");
    });
    field.addEventListener("blur", () => end(field.value.trim()));
    this.#link.replaceWith(field);
    field.select();
  }

  async #save(name) {
    const { entry } = this;
    const put = (changed) => {
      entries = entries.map((one) => (one.conversation_id === entry.conversation_id ? { ...one, name: changed } : one));
      draw();
    };
    trouble.replaceChildren();
    put(name);
    try {
      await callJson(owned(pathOf(entry.conversation_id)), json("PATCH", { name }), JSON.stringify({ name }));
    } catch (error) {
      if (isGone(error)) return onGone(entry.conversation_id, false);
      put(entry.name);
      tell(error, () => this.#save(name));
    }
  }

  async #remove() {
    if (this.element.ariaBusy === "true") return;
    this.element.classList.add("held"); // the dialog gives the focus back to the button, which has to show by then
    const yes = await confirmed(this.name);
    this.element.classList.remove("held");
    if (!yes) return;
    const id = this.entry.conversation_id;
    this.element.ariaBusy = "true";
    trouble.replaceChildren();
    try {
      await callJson(owned(pathOf(id)), { method: "DELETE" }, "");
    } catch (error) {
      if (!isGone(error)) {
        this.element.ariaBusy = null;
        tell(error, () => this.#remove());
        return;
      }
    }
    const neighbour = this.element.nextElementSibling ?? this.element.previousElementSibling;
    onGone(id, true);
    (neighbour?.querySelector("a") ?? (drawer.open ? $("close-drawer") : $("new"))).focus();
    announce(texts.deleted);
  }
}

let decide; // on what the dialog asks

/** Asks whether to delete the conversation of that name. */
function confirmed(name) {
  $("confirm-what").textContent = texts.deleteWhat(name);
  confirm.showModal();
  return new Promise((resolve) => {
    decide = resolve;
  });
}

for (const [id, sure] of [["confirm-no", false], ["confirm-yes", true]]) {
  $(id).addEventListener("click", () => {
    confirm.close();
    decide(sure);
  });
}
// Escape. The event comes late: the dialog may be open again by then.
confirm.addEventListener("close", () => confirm.open || decide(false));

more.addEventListener("click", async () => {
  const before = entries.length;
  await read(cursor);
  if (more.hidden) list.children[before]?.querySelector("a").focus();
});

// The drawer

function place() {
  drawer.close();
  if (narrow.matches) drawer.append(bar);
  else $("columns").prepend(bar);
}

$("menu").addEventListener("click", () => drawer.showModal());
$("close-drawer").addEventListener("click", () => drawer.close());
drawer.addEventListener("click", (event) => {
  if (event.target === drawer || event.target.closest("a")) drawer.close(); // the drawer itself: what is beside its content
});
