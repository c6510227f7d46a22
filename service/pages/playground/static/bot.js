/** The bot that is talked with: its name, picture, opening line and questions in an empty chat; and a choice of bots. */
import { $, make } from "./dom.js";
import { callJson } from "./service.js";
import { texts } from "./texts.js";

const field = $("bot"); // whose value is the bot's name or id, empty for the service's default
const choice = $("choice");
const [face, heading, opening, starters] = ["face", "bot-name", "opening", "starters"].map($); // of the welcome, which comes and goes
const profiles = new Map(); // promises, by name or id
let defaultId = "";
let reading; // a promise of the bots that there are
let suggestion;

/** `makeSuggestion` makes a button that asks its text. */
export function startBot(makeSuggestion) {
  suggestion = makeSuggestion;
}

/** Reads which bots there are. With several there is a choice in place of the field. */
export function readBots() {
  reading = read().catch(() => {}); // without them the page has the field
}

async function read() {
  const { data } = await callJson("api/v1/bots");
  defaultId = data.find((bot) => bot.is_default)?.bot_id ?? "";
  if (!defaultId && data.length && !field.value) field.value = data[0].bot_id;
  choice.replaceChildren(...data.map(({ bot_id: value, title, name }) => make("option", { value, text: title || name || value })));
  $("choice-field").hidden = data.length < 2;
  $("bot-field").hidden = data.length > 1;
}

/** Shows the present bot in the welcome. */
export async function showBot() {
  await reading;
  const id = field.value.trim() || defaultId;
  if (id && choice.value !== id) {
    // A conversation may be with a bot that is not served any more.
    if (![...choice.options].some((option) => option.value === id)) choice.append(make("option", { value: id, text: id }));
    choice.value = id;
  }
  const bot = await profileOf(id);
  if (id !== (field.value.trim() || defaultId)) return; // another one was chosen meanwhile
  face.replaceChildren(...(bot ? [faceOf(bot)] : []));
  heading.textContent = (bot && nameOf(bot)) || texts.welcome;
  opening.textContent = bot?.prologue.replaceAll("{{user_name}}", texts.guest) || bot?.description || texts.welcomeMore;
  const questions = bot?.suggested_questions?.length ? bot.suggested_questions : texts.starters;
  starters.replaceChildren(...questions.map(suggestion));
}

const nameOf = (bot) => bot.title || bot.name || "";

/** What the service tells of a bot; null where it tells nothing. */
function profileOf(id) {
  if (!/^\w[\w.-]{0,127}$/.test(id)) return null;
  if (!profiles.has(id)) {
    const read = callJson(`api/v1/bots/${id}`).then(({ data }) => data);
    profiles.set(id, read.catch(() => profiles.delete(id) && null));
  }
  return profiles.get(id);
}

/** The bot's picture, or the first letter of its name where there is none that the page may load. */
function faceOf(bot) {
  const letter = make("span", { text: [...nameOf(bot)][0]?.toUpperCase() ?? "?", ariaHidden: "true" });
  const url = URL.canParse(bot.icon_url) ? new URL(bot.icon_url) : null;
  if (url?.protocol !== "https:" && url?.origin !== location.origin) return letter;
  const picture = make("img", { alt: "", onerror: () => picture.replaceWith(letter) });
  picture.src = url.href;
  return picture;
}

choice.addEventListener("change", () => {
  field.value = choice.value;
  field.dispatchEvent(new Event("change"));
});
