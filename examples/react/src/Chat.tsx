import { type FormEvent, type KeyboardEvent, memo, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { type Conversation, createCoze } from "../../typescript/client.ts";
import { explained, followEnd, sends, words } from "../../typescript/page.ts";
import { ChatSession, type Line, opening, suggested } from "../../typescript/session.ts";
import { Visitor } from "../../typescript/visitor.ts";

const url = import.meta.env.VITE_COZE_URL ?? "http://127.0.0.1:2026";
const bot = new URLSearchParams(location.search).get("bot"); // null: the service's default bot

export function Chat() {
  const [chat] = useState(() => new ChatSession(createCoze(url, new Visitor(url)), bot));
  useEffect(() => chat.start(), [chat]);
  const state = useSyncExternalStore(chat.subscribe, () => chat.state);
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => followEnd(log.current!), []);
  const blocked = state.busy !== null || state.wait > 0;
  const last = state.lines.at(-1);

  /** For a button that is gone then: the focus must not go with it. */
  function press(action: () => void) {
    action();
    log.current!.focus();
  }

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    // What cannot be sent yet stays in its field.
    if (chat.send(String(form.get("text")), form.get("file") as File)) event.currentTarget.reset();
  }

  function typed(event: KeyboardEvent<HTMLTextAreaElement>) {
    if (!sends(event.nativeEvent)) return;
    event.preventDefault();
    event.currentTarget.form!.requestSubmit();
  }

  return (
    <>
      {(state.conversations || state.trouble) && <Conversations chat={chat} />}
      <main lang={words.lang}>
        <h1>{state.bot?.title || words.title}</h1>
        <div ref={log} role="log" aria-busy={state.busy !== null} tabIndex={0}>
          {state.hasEarlier && <button disabled={blocked} onClick={() => press(() => chat.earlier())}>{words.earlier}</button>}
          {opening(state, words.guest) && <p className="opening" dir="auto">{opening(state, words.guest)}</p>}
          {state.lines.map((line) => <Spoken key={line.id} line={line} />)}
          {state.busy && (state.lost || last?.role !== "assistant") && <p className="waiting">{state.lost ? words.lost : "…"}</p>}
          {last?.error && !state.busy && (
            <button disabled={blocked} onClick={() => press(() => chat.retry())}>
              {state.wait ? words.wait(state.wait) : words.retry}
            </button>
          )}
          {suggested(state).map((text) => (
            <button key={text} disabled={blocked} onClick={() => press(() => chat.send(text))}>{text}</button>
          ))}
        </div>
        <form onSubmit={send}>
          <textarea name="text" aria-label={words.message} dir="auto" onKeyDown={typed} autoFocus />
          <input name="file" aria-label={words.file} type="file" />
          <button disabled={blocked}>{words.send}</button>
          <button type="button" disabled={state.busy !== "answering"} onClick={() => chat.stop()}>{words.stop}</button>
        </form>
      </main>
    </>
  );
}

const Spoken = memo(({ line }: { line: Line }) => {
  if (line.error) {
    return (
      <p className="error" role="alert">
        {explained(line.error)} <small>{line.error.requestId}</small>
      </p>
    );
  }
  return (
    <>
      {line.thinking && (
        <details>
          <summary>{words.thinking}</summary>
          <p>{line.thinking}</p>
        </details>
      )}
      {(line.text || line.files?.[0]) && (
        <p className={line.role} dir="auto">
          {line.files?.map(({ type, name, url }, i) =>
            type === "image" && url ? <img key={i} src={url} alt={name ?? ""} /> : <a key={i} href={url ?? undefined}>{name}</a>,
          )}
          {line.text}
        </p>
      )}
    </>
  );
});

function Conversations({ chat }: { chat: ChatSession }) {
  const state = useSyncExternalStore(chat.subscribe, () => chat.state);

  function rename({ conversation_id, name }: Conversation) {
    const wanted = prompt(words.name, name)?.trim().slice(0, 100);
    if (wanted) chat.rename(conversation_id, wanted);
  }

  function remove({ conversation_id, name }: Conversation) {
    if (confirm(words.confirm(name))) chat.remove(conversation_id);
  }

  return (
    <nav lang={words.lang} aria-label={words.conversations}>
      <button onClick={() => chat.startNew()}>{words.startNew}</button>
      <ul>
        {state.conversations?.map((one) => (
          <li key={one.conversation_id}>
            <button
              aria-current={one.conversation_id === state.open}
              onClick={() => chat.open(one.conversation_id)}
            >
              {one.name || words.unnamed}
            </button>
            <button title={words.rename} aria-label={words.rename} onClick={() => rename(one)}>✎</button>
            <button title={words.remove} aria-label={words.remove} onClick={() => remove(one)}>✕</button>
          </li>
        ))}
      </ul>
      {state.cursor && <button onClick={() => chat.more()}>{words.more}</button>}
      {state.trouble && <p className="error" role="alert">{explained(state.trouble)}</p>}
    </nav>
  );
}
