/** What the user thinks of an answer: two buttons, of which pressing one again takes it back. */
import { pathOf } from "./conversations.js";
import { announce, iconButton, make } from "./dom.js";
import { readOn } from "./present.js";
import { callJson, json, owned } from "./service.js";
import { texts } from "./texts.js";

/** The buttons for an answer. They go where Coze turns out to have no feedback, as Coze Studio. */
export function rating(conversationId, messageId) {
  const path = `${pathOf(conversationId)}/messages/${messageId}/feedback`;
  const buttons = {
    like: iconButton("like", texts.like, () => rate("like")),
    unlike: iconButton("unlike", texts.unlike, () => rate("unlike")),
  };
  const said = make("span", { className: "bad" });
  const element = make("div", { className: "rating", role: "group", ariaLabel: texts.rateAnswer }, ...Object.values(buttons), said);
  let given = null;
  let asking = false;
  show(null);
  return element;

  function show(now) {
    given = now;
    for (const [name, one] of Object.entries(buttons)) one.ariaPressed = String(name === now);
  }

  async function rate(pressed) {
    if (asking) return;
    const before = given;
    const now = pressed === before ? null : pressed;
    const body = { rating: now };
    asking = true;
    said.textContent = "";
    show(now);
    try {
      await (now ? callJson(owned(path), json("PUT", body), JSON.stringify(body)) : callJson(owned(path), { method: "DELETE" }, ""));
    } catch (error) {
      show(before);
      if (error.code === "coze_lacks_endpoint") {
        readOn();
        document.documentElement.dataset.rating = "none";
        announce(error.message);
      } else {
        said.textContent = error.message;
        announce(error.message);
      }
    }
    asking = false;
  }
}
