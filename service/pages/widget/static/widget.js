/**
 * A chat with a Coze bot on any page:
 *
 *   <script src="https://chat.example/widget.js" data-bot="…" data-title="…" data-lang="zh" async></script>
 *
 * All data attributes may be left out. Nothing is asked of the service before the chat is opened. It stands in a closed
 * shadow root in the browser's top layer, so that neither the page's styles nor its scripts meet it by chance. It needs
 * nothing of a content policy but the service itself in `script-src` and `connect-src`.
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
    thinking: "Thinking", lost: "Connecting again…", retry: "Try again", wait: (s) => `Try again in ${s > 90 ? `${Math.ceil(s / 60)} min` : `${s} s`}`,
  };
  const ZH = {
    title: "对话", open: "打开对话", close: "关闭", startNew: "新对话", message: "消息", send: "发送", stop: "停止",
    thinking: "思考过程", lost: "正在重新连接…", retry: "重试", wait: (s) => `${s > 90 ? `${Math.ceil(s / 60)} 分钟` : `${s} 秒`}后可重试`,
  };
  const chinese = (option("lang") || navigator.language).startsWith("zh");
  const texts = chinese ? ZH : EN;
  /** Codes of failures and what to say of them; of all others the last row. */
  const FAILURES = [
    [["unreachable"], "The chat cannot be reached. Are you online?", "无法连接，请检查网络。"],
    [["connection_lost", "coze_broke_off", "chat_cancelled", "answer_stopped", "answer_not_found"], "The answer broke off.", "回答中断了。"],
    [["no_answer"], "There is no answer.", "没有收到回答。"],
    [["rate_limited", "coze_rate_limited", "user_limit_reached", "coze_busy", "too_many_answers"], "Too many questions just now.", "提问过于频繁，请稍候。"],
    [["conversation_not_found"], "This conversation does not exist any more. Begin a new one.", "该会话已不存在，请开始新对话。"],
    [["conversation_too_long"], "This conversation is too long. Begin a new one.", "会话过长，请开始新对话。"],
    [["content_refused", "risk_control_refused"], "This cannot be answered.", "内容未通过审核。"],
    [["api_key_missing", "api_key_invalid", "user_token_missing", "user_token_invalid", "website_not_allowed"], "This page may not use the chat.", "此页面无权使用该对话。"],
    [[], "The chat does not work just now.", "对话暂时不可用。"],
  ];
  const LOST = ["unreachable", "connection_lost"]; // behind which an answer may still go on
  const MOST_TRIES = 12; // in a row, to make a lost connection again: about two minutes
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
    constructor(code, { status, retryAfter } = {}) {
      super(code);
      Object.assign(this, { code, status, retryAfter });
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
    return new Failure(body?.code, { status: response.status, retryAfter });
  }

  async function send(path, init, who) {
    const headers = { ...init.headers, ...(who?.token && { Authorization: `Bearer ${who.token}` }) };
    try {
      return await fetch(service + path, { __proto__: null, ...init, headers }); // nothing that a page adds to all objects
    } catch (error) {
      throw error instanceof TypeError ? new Failure("unreachable") : error;
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

  /** The events of a stream, each with its id, wherever the bytes are cut. */
  async function* eventsOf(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let [rest, id, data] = ["", "", ""];
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
          yield { id, event: JSON.parse(data) };
          data = "";
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // how `fetch` says that the network failed
    } finally {
      reader.cancel().catch(() => {});
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
          if (event.type === "error") throw new Failure(event.code, { retryAfter: event.retry_after });
          if (outlives) after = id;
          tries = 1;
          yield event;
          if (event.type === "end") return;
        }
        throw new Failure("connection_lost");
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
          if (!outlives || !known || !mayPass || tries === MOST_TRIES) throw error;
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
      color-scheme: light dark; --line: light-dark(#c9cdd8, #454b60); --faint: light-dark(#e4e6ee, #2c3140);
      position: fixed; inset: auto 20px 20px auto; margin: 0; padding: 0; border: 0; overflow: visible; background: none;
      font: 15px/1.5 system-ui, sans-serif; color: light-dark(#1a1c23, #eceef4); user-select: text; -webkit-user-select: text;
    }
    [hidden] { display: none !important; }
    button { padding: 6px 12px; border: 1px solid var(--line); border-radius: 8px; background: none; color: inherit; cursor: pointer; }
    button:disabled { opacity: 0.5; cursor: default; }
    :focus-visible { outline: 2px solid light-dark(#4f46e5, #a5a0ff); outline-offset: 1px; }
    .launch { display: block; margin-left: auto; width: 56px; height: 56px; padding: 14px; border: 0; border-radius: 50%; background: #4f46e5; color: #fff; box-shadow: 0 4px 16px #0005; }
    .launch svg { display: block; }
    .panel { display: flex; flex-direction: column; width: 380px; height: min(600px, calc(100dvh - 40px)); border-radius: 16px; overflow: hidden; background: light-dark(#fff, #171a22); box-shadow: 0 8px 32px #0006; }
    header { display: flex; gap: 8px; align-items: center; padding: 10px 12px; border-bottom: 1px solid var(--faint); }
    h2 { flex: 1; margin: 0; font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    header button { white-space: nowrap; }
    .log { flex: 1; overflow-y: auto; overscroll-behavior: contain; padding: 12px; display: flex; flex-direction: column; gap: 8px; align-items: flex-start; }
    .line { padding: 8px 12px; border-radius: 14px; max-width: 85%; white-space: pre-wrap; overflow-wrap: anywhere; }
    .user { align-self: flex-end; background: light-dark(#e7e5fd, #35336a); }
    .assistant, .opening { background: light-dark(#eef0f5, #262b38); }
    .error { background: light-dark(#fef1f0, #3a1d1e); color: light-dark(#a11b12, #ffb0a8); }
    .suggestions { display: flex; flex-wrap: wrap; gap: 6px; }
    .waiting, details { color: light-dark(#5b6072, #a6acbf); }
    details { max-width: 85%; }
    details p { margin: 4px 0; padding-inline-start: 12px; border-inline-start: 3px solid var(--faint); white-space: pre-wrap; overflow-wrap: anywhere; }
    .composer { display: flex; gap: 8px; align-items: end; padding: 10px 12px; border-top: 1px solid var(--faint); }
    textarea { flex: 1; min-width: 0; resize: none; field-sizing: content; min-height: 38px; max-height: 120px; padding: 6px 10px; border: 1px solid var(--line); border-radius: 8px; background: none; color: inherit; }
    ::placeholder { color: light-dark(#5b6072, #a6acbf); }
    .send { background: #4f46e5; border-color: #4f46e5; color: #fff; }

    .markdown { white-space: normal; min-width: 0; }
    .markdown :where(p, ul, ol, h3, pre, blockquote, hr) { margin: 0; }
    .markdown > * + *, .markdown :is(li, blockquote) > * + * { margin-top: 8px; }
    .markdown :is(ul, ol) { padding-inline-start: 22px; }
    .markdown :is(h3, strong, th) { font-weight: 600; }
    .markdown em { font-style: italic; }
    .markdown :is(.h1, .h2) { font-size: 17px; }
    .markdown blockquote { padding-inline-start: 10px; border-inline-start: 3px solid var(--line); }
    .markdown hr { border: 0; border-top: 1px solid var(--line); }
    .markdown a { color: light-dark(#4338ca, #b4b0ff); }
    .markdown .table, .markdown pre { overflow-x: auto; }
    .markdown table { border-collapse: collapse; font-size: 14px; }
    .markdown :is(th, td) { padding: 3px 8px; border: 1px solid var(--line); text-align: start; overflow-wrap: normal; }
    .markdown code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: normal; }
    .markdown pre { padding: 8px 10px; border-radius: 8px; background: light-dark(#fff, #171a22); }

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
  const title = make("h2", {}, option("title") || texts.title);
  const startNew = make("button", { type: "button" }, texts.startNew);
  const close = make("button", { type: "button", "aria-label": texts.close }, "✕");
  const log = make("div", { class: "log", role: "log", tabindex: "0" });
  const field = make("textarea", { "aria-label": texts.message, placeholder: texts.message, dir: "auto", rows: "1" });
  const sending = make("button", { type: "button", class: "send" }, texts.send);
  const stopping = make("button", { type: "button" }, texts.stop);
  const composer = make("div", { class: "composer" }, field, sending, stopping); // no form: frames may forbid to submit one
  const panel = make("div", { class: "panel", role: "dialog", "aria-label": option("title") || texts.title });
  panel.append(make("header", {}, title, startNew, close), log, composer);
  const box = make("div", { class: "box", popover: "manual", lang: chinese ? "zh-CN" : "en" }, panel, launch);
  const waiting = make("div", { class: "line waiting" });
  const suggestions = make("div", { class: "suggestions" });

  // What is happening

  const state = { busy: false, lost: false, wait: 0 };
  let conversation = null; // the one that is shown; another tab may have begun another meanwhile
  let doing = new AbortController();
  let following = null; // the question whose answer comes in

  function show(change) {
    Object.assign(state, change);
    const blocked = state.busy || state.wait > 0;
    sending.disabled = blocked;
    log.setAttribute("aria-busy", String(state.busy));
    stopping.hidden = !state.busy;
    sending.hidden = state.busy;
    for (const button of log.querySelectorAll("button")) button.disabled = blocked;
    for (const button of log.querySelectorAll(".retry")) button.textContent = state.wait ? texts.wait(state.wait) : texts.retry;
    waiting.textContent = state.lost ? texts.lost : "…";
    if (state.busy && (state.lost || !log.lastElementChild?.matches(".assistant"))) log.append(waiting);
    else waiting.remove();
  }

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
      button.addEventListener("click", () => { log.focus(); ask(text); });
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

  /** Does one thing; what was done before is left. */
  async function act(work, again) {
    doing.abort();
    const { signal } = (doing = new AbortController());
    show({ busy: true, lost: false });
    try {
      await work(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Failure)) throw error;
      if (error.code === "conversation_not_found") setOpen(null); // what is asked next begins another
      const retry = make("button", { type: "button", class: "retry" }, texts.retry);
      const told = line("error", error.text);
      log.append(retry);
      retry.addEventListener("click", () => { told.remove(); retry.remove(); log.focus(); again(); });
      if (error.retryAfter) pause(error.retryAfter);
    } finally {
      if (doing.signal === signal) show({ busy: false, lost: false });
    }
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
    const again = () => {
      for (const element of shown) element.remove();
      follow(running()?.key === asked.key ? asked : asking(asked.question.messages[0].content));
    };
    return act(async (signal) => {
      following = asked;
      tab.set("asked", asked);
      const followUps = [];
      let [words, thoughts, keep] = [null, null, false];
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
                waiting.remove();
              }
              words.add(event.content);
              break;
            case "follow_up":
              followUps.push(event.content);
          }
        }
        await words?.end();
        if (!words) throw new Failure("no_answer");
        if (!signal.aborted) suggest(followUps);
      } catch (error) {
        // What was left or lost may go on; what was stopped, refused or has failed does not.
        keep = !asked.stopped && (signal.aborted || LOST.includes(error.code));
        if (!(asked.stopped && error.code === "answer_stopped")) throw error;
      } finally {
        thoughts?.end();
        words?.end();
        if (!keep) tab.set("asked", null);
        if (following === asked) following = null;
      }
    }, again);
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

  /** Shows the conversation as it stands, and goes on with an answer that goes on. */
  function load() {
    log.replaceChildren();
    return act(async (signal) => {
      conversation = site.get("conversation");
      const [id, asked] = [conversation, running()];
      const { token } = await visitor();
      if (id && token) {
        const { data } = await (await call(`api/v1/conversations/${id}/messages`, () => ({ signal }))).json();
        const module = await markdown();
        signal.throwIfAborted();
        for (const { role, content, chat_id } of data) {
          if (!content || (asked?.chatId && asked.chatId === chat_id)) continue;
          const words = role === "user" ? new Words(line(role, "")) : wordsIn(line(role, ""), module);
          words.add(content);
          words.end();
        }
      } else if (!asked) {
        setOpen(null);
        await greet(signal);
      }
      if (!asked) return;
      line("user", asked.question.messages[0].content);
      queueMicrotask(() => follow(asked));
    }, load);
  }

  /** How the bot opens, where Coze tells. */
  async function greet(signal) {
    try {
      const bot = botId || (await (await call("api/v1/config", () => ({ signal }))).json()).data.default_bot_id;
      if (!bot) return;
      const { data } = await (await call(`api/v1/bots/${encodeURIComponent(bot)}`, () => ({ signal }))).json();
      if (!option("title") && data.title) title.textContent = data.title;
      if (data.prologue) line("opening", data.prologue.replaceAll("{{user_name}}", ""));
      suggest(data.suggested_questions);
    } catch (error) {
      if (!(error instanceof Failure)) throw error; // the chat goes without
    }
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

  launch.addEventListener("click", () => { toggle(true); field.focus(); });
  close.addEventListener("click", () => { toggle(false); launch.focus(); });
  startNew.addEventListener("click", () => {
    if (following) stop();
    site.set("conversation", null);
    tab.set("asked", null);
    load();
  });
  stopping.addEventListener("click", stop);
  const submit = () => {
    if (ask(field.value.trim())) field.value = ""; // what cannot be sent yet stays in its field
  };
  sending.addEventListener("click", submit);
  field.addEventListener("keydown", (event) => {
    // Enter sends, but not with Shift, nor when it ends a word of an input method (229: Safari's word for that).
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) close.click();
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
  const begin = () => {
    document.documentElement.append(host); // not the body, which pages shift, fade and replace
    box.showPopover?.(); // above all that a page can stack; older browsers have the host's z-index
    toggle(tab.get("open") === true);
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
