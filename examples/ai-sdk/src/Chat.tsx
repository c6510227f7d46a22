import { useChat } from "@ai-sdk/react";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { countDown, CozeError } from "../../typescript/client.ts";
import { explained, followEnd, sends, words } from "../../typescript/page.ts";
import type { CozeTransport, Said } from "./transport.ts";

export function Chat({ transport, earlier }: { transport: CozeTransport; earlier: Said[] }) {
  const { messages, sendMessage, status, stop, error, regenerate } = useChat<Said>({ transport, messages: earlier, resume: true });
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => followEnd(log.current!), []);
  const busy = status === "submitted" || status === "streaming";
  const [wait, setWait] = useState(0); // for so many seconds the service wants no question
  useEffect(() => countDown(error instanceof CozeError ? (error.retryAfter ?? 0) : 0, setWait), [error]);
  const followUps = busy ? [] : (messages.at(-1)?.parts ?? []).filter((part) => part.type === "data-follow-up");

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("text")).trim();
    if (!text || busy || wait) return; // what cannot be sent yet stays in its field
    void sendMessage({ text });
    event.currentTarget.reset();
  }

  return (
    <main lang={words.lang}>
      <h1>{words.title}</h1>
      <div ref={log} role="log" aria-busy={busy} tabIndex={0}>
        {messages.flatMap(({ id, role, parts }) =>
          parts.map((part, i) => {
            if (part.type === "text") return <p key={id + i} className={role} dir="auto">{part.text}</p>;
            if (part.type !== "reasoning") return null;
            return <details key={id + i}><summary>{words.thinking}</summary><p>{part.text}</p></details>;
          }),
        )}
        {status === "submitted" && <p className="waiting">…</p>}
        {error && <p className="error" role="alert">{error instanceof CozeError ? explained(error) : error.message}</p>}
        {error && (
          <button disabled={wait > 0} onClick={() => void regenerate()}>{wait ? words.wait(wait) : words.retry}</button>
        )}
        {followUps.map(({ data }) => <button key={data} onClick={() => void sendMessage({ text: data })}>{data}</button>)}
      </div>
      <form onSubmit={send}>
        <textarea
          name="text"
          aria-label={words.message}
          dir="auto"
          autoFocus
          onKeyDown={(event) => {
            if (!sends(event.nativeEvent)) return;
            event.preventDefault();
            event.currentTarget.form!.requestSubmit();
          }}
        />
        <button disabled={busy || wait > 0}>{words.send}</button>
        <button type="button" disabled={!busy} onClick={() => void stop()}>{words.stop}</button>
      </form>
    </main>
  );
}
