/** Calls of the service, for the person whom the page speaks for. */
import { $ } from "./dom.js";
import { messageOf } from "./errors.js";
import { kept } from "./kept.js";
import { chinese, texts } from "./texts.js";
import { raw } from "./wire.js";

/** Who has conversations here, as the service writes it into the page: "visitors", only "users" who prove it, or "nobody". */
const HISTORY = document.documentElement.dataset.history;
export const offersHistory = HISTORY !== "nobody";
const MAX_WAIT = 10_000; // milliseconds for a visitor's token
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

// The caller

const typedKey = () => $("key").value.trim();

function visitor() {
  const [id, token] = [kept.get("visitor-id"), kept.get("visitor-token")];
  return id && token ? { id, token } : null;
}

/** Who calls: a `token` that proves something, if there is one, and the `userId` to name where a token does not say it. */
function caller() {
  const key = typedKey();
  const userId = $("user").value.trim() || "playground";
  if (key) return JWT.test(key) ? { token: key } : { token: key, userId };
  const mine = kept.get("user") ? null : visitor();
  return mine ? { token: mine.token } : { userId };
}

/** The user id that a chat has to name, if any. */
export const userId = () => caller().userId;

/** Whether the caller has conversations that can be listed. */
export const hasHistory = () => offersHistory && Boolean(caller().token);

let joining = null;

/** Resolves when it is known who calls: a visitor first gets a token, which the browser keeps. */
export async function callerKnown() {
  if (HISTORY === "visitors" && !typedKey() && !kept.get("user") && !visitor()) await (joining ??= join());
}

async function join() {
  try {
    const response = await fetch("api/v1/visitors", { method: "POST", signal: AbortSignal.timeout(MAX_WAIT) });
    if (!response.ok || visitor()) return; // visitor(): another tab was faster
    const { data } = await response.json();
    kept.set("visitor-id", data.user_id);
    kept.set("visitor-token", data.token);
  } catch {
    // The page goes on without conversations to list; what is asked next says what is wrong.
  } finally {
    showUser();
  }
}

/** Gets a visitor another token than the refused one. */
async function rejoin(refused) {
  if (visitor()?.token === refused) {
    kept.set("visitor-token", null);
    joining = null;
  }
  await callerKnown();
  document.dispatchEvent(new Event("callerchange"));
}

let defaultUser = null;
let shownUser = "";

/** Shows the user id: the typed one, the visitor's, the service's default, or one made up that stays. */
export function showUser(ofService = defaultUser) {
  defaultUser = ofService;
  if ($("user").value !== shownUser) return; // it is being typed
  if (!kept.get("own-user")) kept.set("own-user", `playground-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`);
  const visitorId = typedKey() ? null : visitor()?.id;
  shownUser = kept.get("user") ?? visitorId ?? defaultUser ?? kept.get("own-user");
  $("user").value = shownUser;
}

/** Keeps the user id that was typed. Without one it is the page's own again. */
export function keepUser() {
  const typed = $("user").value.trim();
  kept.set("user", typed && typed !== visitor()?.id ? typed : null);
  shownUser = $("user").value;
  showUser();
}

// Calls

/** What went wrong, as a person wants to know it. `fields`: status, code, message, retryAfter (seconds), requestId. */
export class Failure extends Error {
  constructor(title, fields) {
    super();
    Object.assign(this, fields, { title, message: messageOf(fields.code, fields.message, chinese) });
  }
}

export const offline = () => new Failure(texts.offline, { message: texts.offlineMore });

/** Whether a call failed because the conversation does not exist, or not any more. */
export const isGone = (failure) => failure.code === "conversation_not_found";

async function failureOf(response) {
  const body = await response.json().catch(() => null);
  return new Failure(texts.errors[response.status] ?? texts.error, {
    status: response.status,
    code: body?.code,
    message: body?.message ?? texts.notJson,
    retryAfter: body?.retry_after ?? (Number(response.headers.get("Retry-After")) || undefined),
    requestId: response.headers.get("X-Request-ID"),
  });
}

/** `fetch` for the caller. A 401 gets a visitor another token, and anybody else the field for a key. */
async function fetchAs(path, init) {
  await callerKnown();
  const { token } = caller();
  let response = await send(path, init, token);
  if (response.status === 401 && token && !typedKey()) {
    await rejoin(token);
    response = await send(path, init, caller().token);
  }
  if (response.status === 401) $("key-field").hidden = false;
  return response;
}

function send(path, init, token) {
  return fetch(path, { ...init, headers: { ...init.headers, ...(token && { Authorization: `Bearer ${token}` }) } });
}

/**
 * The answer to a call and when it began; every answer but a good one is thrown as a Failure. `shown` has the raw pane
 * show what goes over the wire, the body as it says.
 */
export async function call(path, init = {}, shown = undefined) {
  const show = shown === undefined ? () => {} : raw;
  show(`→ ${init.method ?? "GET"} ${path}${shown && `\n${shown}`}`, "note");
  const since = performance.now();
  let response;
  try {
    response = await fetchAs(path, init);
  } catch (error) {
    show(`✕ ${error.name}`, "bad", since);
    if (error.name === "AbortError") throw error;
    document.dispatchEvent(new Event("unreachable"));
    throw offline();
  }
  document.dispatchEvent(new Event("reached"));
  const type = response.headers.get("Content-Type");
  show(`← HTTP ${response.status} · ${type}\nX-Request-ID: ${response.headers.get("X-Request-ID")}`, response.ok ? "note" : "bad", since);
  if (response.ok) return { response, since };
  const failure = await failureOf(response.clone());
  show(await response.text().catch(() => ""), "bad");
  throw failure;
}

/** The JSON answer to a call. With `shown` also the raw pane has it. */
export async function callJson(path, init = {}, shown = undefined) {
  const { response, since } = await call(path, init, shown);
  try {
    const text = await response.text();
    if (shown !== undefined) raw(text, "", since);
    return JSON.parse(text);
  } catch (error) {
    throw error.name === "AbortError" ? error : offline();
  }
}

/** Whether calls carry a token, which nobody else should see. */
export const hasToken = () => Boolean(caller().token);

/** A path of the user's own things. A backend names the user in the query. */
export function owned(path, query = {}) {
  const { token, userId } = caller();
  const given = Object.entries({ ...query, user_id: token && userId }).filter(([, value]) => value);
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

/** What a JSON call sends. */
export function json(method, value) {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}
