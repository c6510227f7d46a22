import { Bubble, Prompts, Sender, Think } from "@ant-design/x";
import { useXChat } from "@ant-design/x-sdk";
import { useEffect, useState } from "react";
import { countDown, createCoze, CozeError, type StreamEvent } from "../../typescript/client.ts";
import { explained, words } from "../../typescript/page.ts";
import { Thread } from "../../typescript/thread.ts";
import { Visitor } from "../../typescript/visitor.ts";
import { type Asked, CozeProvider, type Said } from "./provider.ts";

const url = import.meta.env.VITE_COZE_URL ?? "http://127.0.0.1:2026";
const bot = new URLSearchParams(location.search).get("bot") ?? undefined; // undefined: the service's default bot
const NOTHING: Said = { role: "assistant", text: "" };
const GOING_ON = "going on"; // the id of an answer that a reload has interrupted

export function Chat() {
  const [thread] = useState(() => new Thread(createCoze(url, new Visitor(url)), bot));
  const [provider] = useState(() => new CozeProvider(thread));
  const [text, setText] = useState("");
  const [wait, setWait] = useState(0); // for so many seconds the service wants no question
  const { messages, onRequest, onReload, abort, isRequesting, isDefaultMessagesRequesting } = useXChat<Said, Said, Asked, StreamEvent>({
    provider,
    defaultMessages: async () => {
      const earlier = await thread.earlier();
      const said = earlier.map(({ id, role, text }) => ({ id, message: { role, text } }));
      return thread.asked ? [...said, { id: GOING_ON, message: NOTHING, status: "loading" as const }] : said;
    },
    requestPlaceholder: NOTHING,
    requestFallback: (_, { error, messageInfo }): Said => ({ ...(messageInfo?.message ?? NOTHING), error }),
  });
  const busy = isRequesting || isDefaultMessagesRequesting;
  const last = messages.at(-1);
  const error = busy ? undefined : last?.message.error;

  useEffect(() => {
    if (!isDefaultMessagesRequesting && last?.id === GOING_ON && thread.asked) onReload(GOING_ON, { text: thread.asked, again: true });
  }, [isDefaultMessagesRequesting]);
  useEffect(() => countDown(error instanceof CozeError ? (error.retryAfter ?? 0) : 0, setWait), [error]);

  function ask(question: string) {
    if (!question.trim() || busy || wait) return; // what cannot be sent yet stays in its field
    onRequest({ text: question.trim() });
    setText("");
  }

  function retry() {
    const question = messages.filter(({ message }) => message.role === "user").at(-1)!.message.text;
    onReload(last!.id, { text: question, again: true });
  }

  return (
    <main lang={words.lang}>
      <h1>{words.title}</h1>
      <Bubble.List
        style={{ flex: 1, minHeight: 0 }}
        autoScroll
        role={{ user: { placement: "end" }, assistant: { placement: "start" } }}
        items={messages
          .filter(({ status, message }) => status !== "abort" || message.text) // what was stopped before its first word
          .map(({ id, message, status }) => ({
            key: id,
            role: message.role,
            loading: status === "loading",
            content: message,
            contentRender: (said: Said) => <Spoken said={said} />,
          }))}
      />
      {error && error.name !== "AbortError" && (
        <button disabled={wait > 0} onClick={retry}>{wait ? words.wait(wait) : words.retry}</button>
      )}
      <Prompts
        items={(busy ? [] : (last?.message.followUps ?? [])).map((label) => ({ key: label, label }))}
        onItemClick={({ data }) => ask(String(data.label))}
        wrap
      />
      <Sender value={text} onChange={setText} onSubmit={ask} onCancel={abort} loading={isRequesting} placeholder={words.message} />
    </main>
  );
}

function Spoken({ said: { text, thinking, error } }: { said: Said }) {
  return (
    <>
      {thinking && <Think title={words.thinking} defaultExpanded={false}>{thinking}</Think>}
      <span dir="auto" style={{ whiteSpace: "pre-wrap" }}>{text}</span>
      {error && error.name !== "AbortError" && (
        <div role="alert">{error instanceof CozeError ? explained(error) : error.message}</div>
      )}
    </>
  );
}
