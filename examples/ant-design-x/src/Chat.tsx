import { Bubble, Prompts, Sender, Think } from "@ant-design/x";
import { useXChat } from "@ant-design/x-sdk";
import { useState } from "react";
import { createCoze, CozeError, type StreamEvent } from "../../typescript/client.ts";
import { explained, words } from "../../typescript/page.ts";
import { Visitor } from "../../typescript/visitor.ts";
import { type Asked, CozeProvider, type Said } from "./provider.ts";

const url = import.meta.env.VITE_COZE_URL ?? "http://127.0.0.1:2026";
const bot = new URLSearchParams(location.search).get("bot") ?? undefined; // undefined: the service's default bot

export function Chat() {
  const [provider] = useState(() => new CozeProvider(createCoze(url, new Visitor(url)), bot));
  const [text, setText] = useState("");
  const { messages, onRequest, abort, isRequesting } = useXChat<Said, Said, Asked, StreamEvent>({
    provider,
    requestPlaceholder: { role: "assistant", text: "" } as Said,
    requestFallback: (_, { error, messageInfo }): Said => ({ ...(messageInfo?.message ?? { role: "assistant", text: "" }), error }),
  });
  const followUps = isRequesting ? [] : (messages.at(-1)?.message.followUps ?? []);

  function ask(question: string) {
    if (!question.trim() || isRequesting) return; // what cannot be sent yet stays in its field
    onRequest({ text: question.trim() });
    setText("");
  }

  return (
    <main lang={words.lang}>
      <h1>{words.title}</h1>
      <Bubble.List
        style={{ flex: 1 }}
        autoScroll
        role={{ user: { placement: "end" }, assistant: { placement: "start" } }}
        items={messages.map(({ id, message, status }) => ({
          key: id,
          role: message.role,
          loading: status === "loading",
          content: message,
          contentRender: (said: Said) => <Spoken said={said} />,
        }))}
      />
      <Prompts items={followUps.map((label) => ({ key: label, label }))} onItemClick={({ data }) => ask(String(data.label))} wrap />
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
        <span role="alert">{error instanceof CozeError ? explained(error) : error.message}</span>
      )}
    </>
  );
}
