/**
 * A chat with a Coze bot on any page:
 *
 *   <script src="https://chat.example/widget.js" data-bot="…" data-title="…" data-lang="zh" async></script>
 *
 * docs/widget.md has all data attributes; each may be left out. Nothing is asked of the service before the chat is opened.
 * It stands in a closed shadow root in the browser's top layer, so that neither the page's styles nor its scripts meet it
 * by chance. It needs nothing of a content policy but the service itself in `script-src` and `connect-src`.
 */
(() => {
  const LOADED = Symbol.for("coze-chat");
  if (window[LOADED]) return; // a page has one chat, however often it names the script
  window[LOADED] = true;

  const script = document.currentScript ?? document.querySelector('script[src*="/widget.js"]'); // none in a module
  const option = (name) => script.getAttribute(`data-${name}`); // `dataset` has what a page adds to all objects
  const service = new URL(".", script.src).href;
  const botId = option("bot") || undefined; // undefined: the service's default bot

  const EN = {
    title: "Chat", open: "Open the chat", close: "Close", startNew: "New chat", message: "Message", send: "Send", stop: "Stop",
    messages: "Messages", thinking: "Thinking", waiting: "Still waiting…", lost: "Connecting again…", stopped: "Stopped", reference: "Reference: ",
    retry: "Try again", wait: (seconds) => `Try again in ${seconds} s`, waitLong: (minutes) => ` Try again in about ${minutes} min.`,
  };
  const ZH = {
    title: "对话", open: "打开对话", close: "关闭", startNew: "新对话", message: "消息", send: "发送", stop: "停止",
    messages: "消息记录", thinking: "思考过程", waiting: "仍在等待…", lost: "正在重新连接…", stopped: "已停止", reference: "编号：",
    retry: "重试", wait: (seconds) => `${seconds} 秒后可重试`, waitLong: (minutes) => `请约 ${minutes} 分钟后重试。`,
  };
  const chinese = (option("lang") || navigator.language).startsWith("zh");
  const texts = chinese ? ZH : EN;
  /** Codes of failures and what to say of them; of all others the last row. */
  const FAILURES = [
    [["unreachable"], "The chat cannot be reached. Are you online?", "无法连接，请检查网络。"],
    [["never_reached"], "The chat cannot be reached.", "无法连接到对话。"],
    [["connection_lost", "coze_broke_off", "chat_cancelled", "answer_stopped", "answer_not_found"], "The answer broke off.", "回答中断了。"],
    [["no_answer"], "There is no answer.", "没有收到回答。"],
    [["rate_limited", "coze_rate_limited", "user_limit_reached", "coze_busy", "too_many_answers"], "Too many questions just now.", "提问过于频繁，请稍候。"],
    [["conversation_not_found"], "This conversation does not exist any more. Begin a new one.", "该会话已不存在，请开始新对话。"],
    [["conversation_too_long"], "This conversation is too long. Begin a new one.", "会话过长，请开始新对话。"],
    [["content_refused", "risk_control_refused"], "This cannot be answered.", "内容未通过审核。"],
    [["api_key_missing", "api_key_invalid", "user_token_missing", "user_token_invalid", "website_not_allowed"], "This page may not use the chat.", "此页面无权使用该对话。"],
    [[], "The chat does not work just now.", "对话暂时不可用。"],
  ];
  const LOST = ["unreachable", "never_reached", "connection_lost"]; // behind which an answer may still go on
  // What may be otherwise a moment later, beside what the service says `retry_after` of; proxies have no codes.
  const FLEETING = [...LOST, "no_answer", "answer_not_found", "answer_stopped", "internal_error", undefined];
  const OVER = ["conversation_not_found", "conversation_too_long"]; // what helps is a new conversation
  const MOST_TRIES = 12; // in a row, to make a lost connection again: about two minutes
  const FIRST_TRIES = 3; // while there never was one: then a policy forbids it, most likely
  const LATE = [0, 1, 2, 4, 8]; // seconds between looks for an answer that Coze may not have completed yet
  const LONG_WAIT = 10_000; // milliseconds
  const MOST_SECONDS = 120; // that are counted down; a longer wait, as for a used-up quota, is the visitor's to judge
  const KEY_MILLISECONDS = 60_000; // for which the service surely knows a question that was sent under a key

  // What the browser keeps: for the site who asks and the conversation, for the tab the rest.

  function keeper(name, bot = "") {
    const memory = new Map();
    const key = (what) => `coze-chat ${service} ${bot} ${what}`;
    const storage = () => window[name]; // throws where the browser forbids it
    return {
      get(what) {
        try { return JSON.parse(storage().getItem(key(what))); } catch { return memory.get(what) ?? null; }
      },
      set(what, value) {
        try { storage().setItem(key(what), JSON.stringify(value)); } catch { memory.set(what, value); }
      },
    };
  }
  const visitors = keeper("localStorage"); // one for all bots
  const site = keeper("localStorage", botId);
  const tab = keeper("sessionStorage", botId);

  const random = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const passed = (seconds, signal) => new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason));
  });

  // Calls

  class Failure extends Error {
    constructor(code, { status, message, retryAfter, requestId } = {}) {
      super(message);
      Object.assign(this, { code, status, retryAfter, requestId });
    }
    get mayPass() {
      return Boolean(this.retryAfter) || FLEETING.includes(this.code);
    }
    get text() {
      const row = FAILURES.find(([codes]) => codes.includes(this.code)) ?? FAILURES.at(-1);
      return row[chinese ? 2 : 1];
    }
  }

  let joining = null;
  let guest = false; // whether the service gave no token since this page was opened

  /** Who asks: a visitor with a token, or where the service has no visitors an id that proves nothing. */
  async function visitor(refused) {
    const known = visitors.get("visitor");
    if (known && known.token !== refused && (known.token || guest)) return known;
    joining ??= exclusively(() => join(refused)).finally(() => (joining = null));
    return joining;
  }

  /** Tabs that are opened at once are one visitor: where they cannot wait for each other, the first answer counts. */
  async function join(refused) {
    const isGood = (known) => known?.token && known.token !== refused;
    if (isGood(visitors.get("visitor"))) return visitors.get("visitor");
    const response = await send("api/v1/visitors", { method: "POST" });
    guest = [404, 503].includes(response.status); // no visitors there, or nothing is remembered
    if (!response.ok && !guest) throw await failureOf(response);
    const { user_id, token } = guest ? { user_id: `guest_${random()}`, token: null } : (await response.json()).data;
    const known = visitors.get("visitor");
    if (known && (guest ? !known.token : isGood(known))) return known;
    visitors.set("visitor", { user_id, token });
    return { user_id, token };
  }

  /** Does `work` in one tab at a time. Plain http has no such locks, nor has a frame that may keep nothing. */
  async function exclusively(work) {
    let begun = false;
    const begin = () => {
      begun = true;
      return work();
    };
    try {
      return await navigator.locks.request(`coze-chat ${service}`, begin);
    } catch (error) {
      if (begun) throw error;
      return work();
    }
  }

  async function failureOf(response) {
    const body = await response.json().catch(() => null);
    const retryAfter = body?.retry_after ?? (Number(response.headers.get("Retry-After")) || undefined);
    return new Failure(body?.code, { status: response.status, message: body?.message, retryAfter, requestId: idOf(response) });
  }

  const idOf = (response) => response.headers.get("X-Request-ID");
  let reached = false; // whether the service has ever answered to this page

  async function send(path, init, who) {
    const headers = { ...init.headers, ...(who?.token && { Authorization: `Bearer ${who.token}` }) };
    try {
      const response = await fetch(service + path, { __proto__: null, ...init, headers }); // nothing that a page adds to all objects
      reached = true;
      return response;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new Failure(reached || !navigator.onLine ? "unreachable" : "never_reached");
    }
  }

  /** Makes a call; `init` is made for who asks. A token that is refused is replaced once. */
  async function call(path, init = () => ({})) {
    let who = await visitor();
    let response = await send(path, init(who), who);
    if (response.status === 401 && who.token) {
      who = await visitor(who.token);
      response = await send(path, init(who), who);
    }
    if (response.ok) return response;
    throw await failureOf(response);
  }

  /** The JSON answer to a call. */
  async function read(path, signal) {
    const response = await call(path, () => ({ signal }));
    try {
      return await response.json();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Failure("connection_lost", { requestId: idOf(response) });
    }
  }

  /** The newest messages of the conversation that is shown, as `{ data, has_more }`. */
  const messages = (signal) => read(`api/v1/conversations/${conversation}/messages`, signal);

  /** The events of a stream, each with its id, wherever the bytes are cut. */
  async function* eventsOf(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let [rest, id, data] = ["", "", ""];
    let ended = false;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (line.startsWith("id: ")) id = line.slice(4);
          if (line.startsWith("data: ")) data = line.slice(6);
          if (line || !data) continue;
          const event = JSON.parse(data);
          ended = event.type === "end";
          yield { id, event };
          data = "";
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // how `fetch` says that the network failed
    } finally {
      // Nothing comes after `end`; what is read up to its own end does not look like a failure in the browser's tools.
      (ended ? reader.read() : reader.cancel()).catch(() => {});
    }
  }

  let outlives = true; // whether the service keeps answers over a lost connection

  /** The events of the answer to what was asked, over lost connections; Coze is asked once. */
  async function* answer(asked, signal) {
    let after = asked.answerId && `${asked.answerId}.0`;
    for (let tries = 1, patience = 5; ; tries++) {
      try {
        const response = await call("api/v1/chat", ({ user_id }) => ({
          method: "POST",
          headers: {
            "Content-Type": "application/json",
            ...(outlives && { "Idempotency-Key": asked.key }),
            ...(after && { "Last-Event-ID": after }),
          },
          body: JSON.stringify({ user_id, ...asked.question, stream: true, ...(outlives && { on_disconnect: "continue" }) }),
          signal,
        }));
        show({ lost: false });
        if (response.status === 204) return;
        for await (const { id, event } of eventsOf(response.body)) {
          if (event.type === "error") throw new Failure(event.code, { message: event.message, retryAfter: event.retry_after, requestId: idOf(response) });
          if (outlives) after = id;
          tries = 1;
          yield event;
          if (event.type === "end") return;
        }
        throw new Failure("connection_lost", { requestId: idOf(response) });
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        const { code, status, retryAfter = 0 } = error;
        if (code === "answers_unavailable" && outlives) {
          outlives = false;
        } else if (code === "conversation_busy" && patience--) {
          asked.key = random(); // under the old one the failure is kept
          await passed(retryAfter || 1, signal);
        } else {
          const known = after || Date.now() - asked.at < KEY_MILLISECONDS; // later it might be asked a second time
          const mayPass = LOST.includes(code) || (after && [429, 502, 503, 504].includes(status));
          if (!outlives || !known || !mayPass || tries === (reached ? MOST_TRIES : FIRST_TRIES)) throw error;
          show({ lost: true });
          await passed(Math.max(retryAfter, Math.min(15, 2 ** (tries - 2)) * (0.5 + Math.random() / 2)), signal);
        }
      }
    }
  }

  // The view

  const STYLE = `
    :host { all: initial !important; position: fixed !important; z-index: 2147483647 !important; direction: ltr !important; }
    * { box-sizing: border-box; font: inherit; }
    .box {
      color-scheme: light dark; --accent: #4f46e5; --on-accent: #fff; --paper: light-dark(#fff, #171a22);
      --line: light-dark(#c9cdd8, #454b60); --faint: light-dark(#e4e6ee, #2c3140); --pale: light-dark(#5b6072, #a6acbf);
      position: fixed; inset: auto 20px 20px auto; margin: 0; padding: 0; border: 0; overflow: visible; background: none;
      font: 15px/1.5 system-ui, sans-serif; color: light-dark(#1a1c23, #eceef4); user-select: text; -webkit-user-select: text;
    }
    .light { color-scheme: light; }
    .dark { color-scheme: dark; }
    .left { inset: auto auto 20px 20px; }
    [hidden] { display: none !important; }
    button { padding: 6px 12px; border: 1px solid var(--line); border-radius: 8px; background: none; color: inherit; cursor: pointer; }
    button:disabled { opacity: 0.5; cursor: default; }
    :focus-visible { outline: 2px solid light-dark(#4f46e5, #a5a0ff); outline-offset: 1px; }
    .launch { display: block; margin-left: auto; width: 56px; height: 56px; padding: 14px; border: 0; border-radius: 50%; background: var(--accent); color: var(--on-accent); box-shadow: 0 4px 16px #0005; }
    .left .launch { margin-left: 0; }
    .launch svg { display: block; }
    .panel { display: flex; flex-direction: column; width: 380px; height: min(600px, calc(100dvh - 40px)); border-radius: 16px; overflow: hidden; background: var(--paper); box-shadow: 0 8px 32px #0006; }
    header { display: flex; gap: 8px; align-items: center; padding: 10px 12px; border-bottom: 1px solid var(--faint); }
    h2 { flex: 1; margin: 0; font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    header button { white-space: nowrap; }
    .log { flex: 1; overflow-y: auto; overscroll-behavior: contain; padding: 12px; display: flex; flex-direction: column; gap: 8px; align-items: flex-start; }
    .line { padding: 8px 12px; border-radius: 14px; max-width: 85%; white-space: pre-wrap; overflow-wrap: anywhere; }
    .user { align-self: flex-end; background: light-dark(color-mix(in srgb, var(--accent) 14%, #fff), color-mix(in srgb, var(--accent) 30%, #171a22)); }
    .assistant, .opening { background: light-dark(#eef0f5, #262b38); }
    .error { background: light-dark(#fef1f0, #3a1d1e); color: light-dark(#a11b12, #ffb0a8); }
    .suggestions { display: flex; flex-wrap: wrap; gap: 6px; }
    .waiting, .note, details, ::placeholder { color: var(--pale); }
    .note { padding: 0 12px; font-size: 13px; overflow-wrap: anywhere; }
    .waiting i { display: inline-block; width: 6px; height: 6px; margin-inline-end: 4px; border-radius: 50%; background: currentColor; }
    @media (prefers-reduced-motion: no-preference) {
      .waiting i { animation: beat 1.2s infinite; }
      .waiting i:nth-child(2) { animation-delay: 0.2s; }
      .waiting i:nth-child(3) { animation-delay: 0.4s; }
    }
    @keyframes beat { 30% { opacity: 0.2; } 60% { opacity: 1; } }
    details { max-width: 85%; }
    details p { margin: 4px 0; padding-inline-start: 12px; border-inline-start: 3px solid var(--faint); white-space: pre-wrap; overflow-wrap: anywhere; }
    .composer { display: flex; gap: 8px; align-items: end; padding: 10px 12px; border-top: 1px solid var(--faint); }
    textarea { flex: 1; min-width: 0; resize: none; field-sizing: content; min-height: 38px; max-height: 120px; padding: 6px 10px; border: 1px solid var(--line); border-radius: 8px; background: none; color: inherit; }
    .send { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }

    .markdown { white-space: normal; min-width: 0; }
    .markdown :where(p, ul, ol, h3, pre, blockquote, hr) { margin: 0; }
    .markdown > * + *, .markdown :is(li, blockquote) > * + * { margin-top: 8px; }
    .markdown :is(ul, ol) { padding-inline-start: 22px; }
    .markdown :is(ul, ol):has(> li:dir(rtl)) { padding: 0 22px; }
    .markdown :is(ul, ol):not(:has(> li:dir(ltr))) { padding-left: 0; }
    .markdown :is(h3, strong, th) { font-weight: 600; }
    .markdown em { font-style: italic; }
    .markdown :is(.h1, .h2) { font-size: 17px; }
    .markdown blockquote { padding-inline-start: 10px; border-inline-start: 3px solid var(--line); }
    .markdown hr { border: 0; border-top: 1px solid var(--line); }
    .markdown a { color: inherit; }
    .markdown .table, .markdown pre { overflow-x: auto; }
    .markdown table { border-collapse: collapse; font-size: 14px; }
    .markdown :is(th, td) { padding: 3px 8px; border: 1px solid var(--line); text-align: start; overflow-wrap: normal; }
    .markdown code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: normal; }
    .markdown :not(pre) > code { padding: 1px 4px; border-radius: 4px; background: light-dark(#0000000d, #ffffff1a); }
    .markdown pre { padding: 8px 10px; border-radius: 8px; background: var(--paper); }

    @media (max-width: 480px) {
      .box.open { inset: 0; width: auto; height: auto; }
      .panel { width: 100%; height: 100%; border-radius: 0; }
      textarea { font-size: 16px; } /* at less a phone zooms in */
    }
    @media print { .box { display: none; } }
  `;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function icon() {
    const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", "M4 4h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z");
    path.setAttribute("fill", "currentColor");
    svg.append(path);
    return svg;
  }

  const launch = make("button", { type: "button", class: "launch", "aria-label": texts.open, "aria-expanded": "false" }, icon());
  const title = make("h2", { id: "title" }, option("title") || site.get("title") || texts.title);
  const startNew = make("button", { type: "button" }, texts.startNew);
  const close = make("button", { type: "button", "aria-label": texts.close }, "✕");
  const log = make("div", { class: "log", role: "log", "aria-label": texts.messages, tabindex: "0" });
  const field = make("textarea", { "aria-label": texts.message, placeholder: texts.message, dir: "auto", rows: "1" });
  const sending = make("button", { type: "button", class: "send" }, texts.send);
  const stopping = make("button", { type: "button" }, texts.stop);
  const composer = make("div", { class: "composer" }, field, sending, stopping); // no form: frames may forbid to submit one
  const panel = make("div", { class: "panel", role: "dialog", "aria-labelledby": "title" });
  panel.append(make("header", {}, title, startNew, close), log, composer);
  const box = make("div", { class: "box", popover: "manual", lang: chinese ? "zh-CN" : "en" }, panel, launch);
  const waiting = make("div", { class: "line waiting" });
  const dots = ["", "", ""].map(() => make("i"));
  const suggestions = make("div", { class: "suggestions" });

  /** Takes a colour of the page's, with black or white on it: with one of them any colour has a contrast of 4.5. */
  function paint(color) {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = color;
    const parts = CSS.supports("color", color) && canvas.fillStyle.match(/^#(..)(..)(..)$/)?.slice(1);
    if (!parts) return console.warn(`coze-chat: data-color must be a colour that nothing shines through, not ${color}.`);
    const [red, green, blue] = parts.map((hex) => parseInt(hex, 16) / 255).map((part) => (part > 0.04 ? ((part + 0.055) / 1.055) ** 2.4 : part / 12.92));
    const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    box.style.setProperty("--accent", canvas.fillStyle);
    box.style.setProperty("--on-accent", luminance > 0.179 ? "#000" : "#fff");
  }

  for (const [name, values] of [["theme", ["light", "dark"]], ["position", ["left"]]]) {
    if (values.includes(option(name))) box.classList.add(option(name));
  }
  if (option("color")) paint(option("color"));

  // What is happening

  const state = { busy: false, lost: false, late: false, wait: 0 };
  let conversation = null; // the one that is shown; another tab may have begun another meanwhile
  let newest = null; // the id of its last message, if that is shown
  let doing = new AbortController();
  let following = null; // the question whose answer comes in

  let patience; // the timer of a wait

  function show(change) {
    Object.assign(state, change);
    const blocked = state.busy || state.wait > 0;
    sending.disabled = blocked;
    log.setAttribute("aria-busy", String(state.busy));
    if (!state.busy && root.activeElement === stopping) toField();
    stopping.hidden = !state.busy;
    sending.hidden = state.busy;
    for (const button of log.querySelectorAll("button")) button.disabled = blocked;
    for (const button of log.querySelectorAll(".retry")) button.textContent = state.wait ? texts.wait(state.wait) : texts.retry;
    const waits = state.busy && (state.lost || !log.lastElementChild?.matches(".assistant"));
    if (waits) log.append(waiting);
    else waiting.remove();
    if (!waits) patience = clearTimeout(patience);
    else patience ??= setTimeout(() => show({ late: true }), LONG_WAIT);
    state.late &&= waits;
    waiting.replaceChildren(...(state.lost ? [texts.lost] : state.late ? [texts.waiting] : dots));
  }

  /** Moves the focus to where one writes. On a touch screen that would bring up the keyboard. */
  const toField = () => (matchMedia("(pointer: coarse)").matches ? log : field).focus();

  // The end of the log stays in view, unless its reader has scrolled up.
  let stays = true;
  const toEnd = () => stays && log.scrollTo(0, log.scrollHeight);
  new MutationObserver(toEnd).observe(log, { childList: true, subtree: true, characterData: true });
  new ResizeObserver(toEnd).observe(log); // by a phone's keyboard, for one
  log.addEventListener("scroll", () => (stays = log.scrollHeight - log.scrollTop - log.clientHeight < 10));

  function put(element) {
    log.append(element);
    return element;
  }

  function line(name, text) {
    stays ||= name === "user"; // one's own question is always shown
    return put(make("div", { class: `line ${name}`, dir: "auto" }, text));
  }

  let loading = null;

  /** The module that draws Markdown. null: it cannot be had. */
  function markdown() {
    loading ??= import(`${service}markdown/assets/growing.js`).catch(() => (loading = null));
    return loading;
  }

  /** The words of an answer, in an element of their own. Without `module` they stand as they come. */
  function wordsIn(element, module) {
    if (!module) return new Words(element);
    element.classList.add("markdown");
    return new module.GrowingMarkdown(element);
  }

  /** Plain words that come faster than they can be drawn. */
  class Words {
    #element;
    #waiting = "";
    #frame = 0;
    constructor(element) {
      this.#element = element;
    }
    add(text) {
      this.#waiting += text;
      this.#frame ||= requestAnimationFrame(() => this.end());
    }
    end() {
      cancelAnimationFrame(this.#frame);
      this.#frame = 0;
      this.#element.append(this.#waiting);
      this.#waiting = "";
    }
  }

  function suggest(questions) {
    suggestions.replaceChildren(...questions.map((text) => {
      const button = make("button", { type: "button", dir: "auto" }, text);
      button.addEventListener("click", () => { toField(); ask(text); });
      return button;
    }));
    if (questions.length) log.append(suggestions);
  }

  function pause(seconds) {
    const end = Date.now() + seconds * 1000;
    const tick = () => {
      show({ wait: Math.max(0, Math.ceil((end - Date.now()) / 1000)) });
      if (state.wait) setTimeout(tick, 1000);
    };
    tick();
  }

  function setOpen(id) {
    conversation = id;
    site.set("conversation", id);
  }

  /** Does one thing; what was done before is left. `question` is what was asked, should its conversation be over. */
  async function act(work, again, question = "") {
    doing.abort();
    const { signal } = (doing = new AbortController());
    show({ busy: true, lost: false });
    try {
      await work(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Failure)) throw error;
      tell(error, again, question);
    } finally {
      if (doing.signal === signal) show({ busy: false, lost: false });
    }
  }

  /** Tells of a failure, and offers what may help. */
  function tell(failure, again, question) {
    warn(failure);
    const { code, requestId, retryAfter = 0 } = failure;
    if (code === "conversation_not_found") setOpen(null); // what is asked next begins another
    const told = [line("error", failure.text)];
    const offer = (attributes, text, help) => {
      const button = make("button", { type: "button", ...attributes }, text);
      button.addEventListener("click", () => { for (const element of told) element.remove(); toField(); help(); });
      told.push(put(button));
    };
    const isOver = OVER.includes(code);
    if (requestId && !isOver) told.push(put(make("div", { class: "note" }, texts.reference + requestId)));
    if (retryAfter > MOST_SECONDS) told[0].append(texts.waitLong(Math.ceil(retryAfter / 60)));
    if (isOver) offer({}, texts.startNew, () => begin(question));
    else if (failure.mayPass) offer({ class: "retry" }, texts.retry, again);
    if (retryAfter <= MOST_SECONDS) pause(retryAfter);
  }

  let warned = false;

  /** Tells the page's owner what a visitor cannot mend. */
  function warn({ code, message, requestId }) {
    if (code !== "never_reached") return console.warn("coze-chat:", [code, message, requestId && `X-Request-ID: ${requestId}`].filter(Boolean).join(" · "));
    if (!warned) console.warn(`coze-chat: a page of ${origin} cannot reach ${service}. Either CORS_ALLOW_ORIGINS of the service does not admit ${origin}, or the page's content policy lacks connect-src ${new URL(service).origin}. See docs/widget.md.`);
    warned = true;
  }

  function ask(text) {
    if (!text || state.busy || state.wait) return false;
    line("user", text);
    follow(asking(text));
    return true;
  }

  function asking(content) {
    const question = { bot_id: botId, conversation_id: conversation, messages: [{ role: "user", content }] };
    return { key: random(), at: Date.now(), question };
  }

  /** Shows the answer to what was asked, from its start. */
  function follow(asked) {
    suggestions.remove();
    const shown = []; // of this answer
    const question = asked.question.messages[0].content;
    const again = () => {
      for (const element of shown) element.remove();
      follow(running()?.key === asked.key ? asked : asking(question));
    };
    return act(async (signal) => {
      following = asked;
      newest = null;
      tab.set("asked", asked);
      let keep = false;
      try {
        const followUps = await hear(asked, shown, signal).catch((error) => recall(error, asked, shown, signal));
        if (!signal.aborted) suggest(followUps);
      } catch (error) {
        // What was left or lost may go on; what was stopped, refused or has failed does not.
        keep = !asked.stopped && (signal.aborted || LOST.includes(error.code));
        const stopped = asked.stopped && (signal.aborted || error.code === "answer_stopped");
        if (stopped && doing.signal === signal) put(make("div", { class: "note" }, texts.stopped));
        if (!stopped) throw error;
      } finally {
        if (!keep) tab.set("asked", null);
        if (following === asked) following = null;
      }
    }, again, question);
  }

  /** Shows an answer as it comes, in elements that it adds to `shown`. Resolves to what the bot suggests next. */
  async function hear(asked, shown, signal) {
    const followUps = [];
    let [words, thoughts] = [null, null];
    const begin = (element) => { shown.push(element); return element; };
    try {
      for await (const event of answer(asked, signal)) {
        switch (event.type) {
          case "chat_started":
            setOpen(event.conversation_id);
            Object.assign(asked, { answerId: event.answer_id, chatId: event.chat_id });
            tab.set("asked", event.answer_id ? asked : null); // one without a name ends with its connection
            if (asked.stopped) stop();
            break;
          case "reasoning_delta":
            thoughts ??= new Words(begin(put(make("details", {}, make("summary", {}, texts.thinking), make("p", { dir: "auto" })))).lastChild);
            thoughts.add(event.content);
            break;
          case "message_delta":
            if (!words) {
              const module = await markdown();
              signal.throwIfAborted();
              words = wordsIn(begin(line("assistant", "")), module);
              show({});
            }
            words.add(event.content);
            break;
          case "follow_up":
            followUps.push(event.content);
            break;
          case "chat_completed":
            newest = event.message_id ?? null;
        }
      }
      await words?.end();
    } finally {
      thoughts?.end();
      words?.end();
    }
    if (!words) throw new Failure("no_answer");
    return followUps;
  }

  /** Shows an answer that the service has lost as the conversation has it, once Coze has completed it. */
  async function recall(error, { chatId }, shown, signal) {
    if (error.code !== "answer_not_found" || !chatId || !(await visitor()).token) throw error;
    const module = await markdown();
    for (const seconds of LATE) {
      await passed(seconds, signal);
      const { data } = await messages(signal);
      const found = data.filter(({ role, content, chat_id }) => role === "assistant" && content && chat_id === chatId);
      if (!found.length) continue;
      for (const element of shown.splice(0)) element.remove();
      draw(found, module);
      return [];
    }
    throw error;
  }

  /** Shows messages that the conversation keeps. */
  function draw(kept, module) {
    for (const { role, content, message_id } of kept) {
      newest = message_id;
      if (!content) continue;
      const words = role === "user" ? new Words(line(role, "")) : wordsIn(line(role, ""), module);
      words.add(content);
      words.end();
    }
  }

  /** The question of this tab whose answer may still come. */
  function running() {
    const asked = tab.get("asked");
    return asked && outlives && (asked.answerId || Date.now() - asked.at < KEY_MILLISECONDS) ? asked : null;
  }

  /** Ends the answer. One that outlives its connection has to be told so, as soon as it has a name. */
  async function stop() {
    const [asked, { signal }, left] = [following, doing, doing];
    if (!asked) return left.abort();
    asked.stopped = true;
    if (!outlives || (!asked.answerId && state.lost)) return left.abort();
    if (!asked.answerId) return;
    try {
      await call(`api/v1/answers/${asked.answerId}/stop`, () => ({ method: "POST" }));
    } catch {
      if (!signal.aborted) left.abort(); // what nobody follows ends by itself
    }
  }

  /** Shows a conversation as it stands, and goes on with an answer that goes on. One that is gone makes place for a new one. */
  function load(id = site.get("conversation")) {
    log.replaceChildren();
    const opening = put(make("div", { class: "line opening", dir: "auto", hidden: "" }));
    return act(async (signal) => {
      conversation = id;
      const asked = running();
      const { token } = await visitor();
      const past = id && token ? await messages(signal).catch(gone) : null;
      const greeted = greet(past?.has_more ? null : opening);
      if (past) {
        const module = await markdown();
        signal.throwIfAborted();
        draw(past.data.filter(({ chat_id }) => !asked?.chatId || asked.chatId !== chat_id), module);
      } else if (!asked) {
        setOpen(null);
        const questions = await greeted;
        signal.throwIfAborted();
        suggest(questions);
      }
      if (!asked) return;
      line("user", asked.question.messages[0].content);
      queueMicrotask(() => follow(asked));
    }, () => load(id));
  }

  function gone(error) {
    if (error.code !== "conversation_not_found") throw error;
    return null;
  }

  /** Shows the bot's name and how it opens, where Coze tells. Resolves to what it suggests to ask. */
  async function greet(opening) {
    try {
      const bot = botId || (await read("api/v1/config")).data.default_bot_id;
      if (!bot) return [];
      const { data } = await read(`api/v1/bots/${encodeURIComponent(bot)}`);
      if (!option("title") && data.title) {
        title.textContent = data.title;
        site.set("title", data.title);
      }
      if (opening && data.prologue) {
        opening.textContent = data.prologue.replaceAll("{{user_name}}", "");
        opening.hidden = false;
      }
      return data.suggested_questions;
    } catch (error) {
      if (!(error instanceof Failure)) throw error; // the chat goes without
      return [];
    }
  }

  /** Begins a new conversation, and asks in it if there is a question. */
  async function begin(question) {
    if (following) stop();
    site.set("conversation", null);
    tab.set("asked", null);
    await load();
    ask(question);
  }

  /** Shows what another tab has added to the conversation meanwhile. */
  async function refresh() {
    const id = conversation;
    if (document.hidden || panel.hidden || state.busy || !id || !newest) return;
    const past = await messages().catch(() => null); // it is no more than was there
    const idle = !state.busy && conversation === id && newest;
    if (past && idle && past.data.at(-1)?.message_id !== newest) load(id);
  }

  let loaded = false;

  function toggle(open) {
    panel.hidden = !open;
    launch.hidden = open;
    box.classList.toggle("open", open);
    launch.setAttribute("aria-expanded", String(open));
    tab.set("open", open);
    if (open && !loaded) load();
    loaded ||= open;
  }

  launch.addEventListener("click", () => { toggle(true); toField(); });
  close.addEventListener("click", () => { toggle(false); launch.focus(); });
  startNew.addEventListener("click", () => { toField(); begin(""); });
  stopping.addEventListener("click", () => { toField(); stop(); });
  document.addEventListener("visibilitychange", refresh);
  const submit = () => {
    if (ask(field.value.trim())) field.value = ""; // what cannot be sent yet stays in its field
  };
  sending.addEventListener("click", () => { toField(); submit(); });
  field.addEventListener("keydown", (event) => {
    // Enter sends, but not with Shift, nor when it ends a word of an input method (229: Safari's word for that).
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && event.keyCode !== 229) close.click();
  });
  // The page's own keys are not meant while one writes here, nor is what it forbids, such as to copy or to scroll.
  const here = ["keydown", "keyup", "keypress", "input", "copy", "cut", "paste", "contextmenu", "selectstart", "wheel", "touchmove"];
  for (const type of here) box.addEventListener(type, (event) => event.stopPropagation(), { passive: true });

  const host = document.createElement("coze-chat");
  const root = host.attachShadow({ mode: "closed" });
  const sheet = new CSSStyleSheet(); // which a content policy does not refuse
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  root.append(box);
  show({});
  const start = () => {
    document.documentElement.append(host); // not the body, which pages shift, fade and replace
    box.showPopover?.(); // above all that a page can stack; older browsers have the host's z-index
    toggle(tab.get("open") === true);
  };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
