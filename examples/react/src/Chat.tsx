import { type FormEvent, useRef, useState } from "react";
import { about, CozeError, createCoze, type Message } from "../../typescript/client.ts";

const coze = createCoze(import.meta.env.VITE_COZE_URL ?? "http://127.0.0.1:2026");
const bot_id = new URLSearchParams(location.search).get("bot"); // null: the service's default bot

type Line = { role: "user" | "assistant" | "error"; text: string; picture?: string };

export function Chat() {
  const [lines, setLines] = useState<Line[]>([]);
  const [running, setRunning] = useState<AbortController | null>(null);
  const conversation = useRef<string | null>(null);

  const add = (role: Line["role"], text: string) => setLines((old) => [...old, { role, text }]);
  // The last line is replaced, never changed in place.
  const change = (changed: (line: Line) => Line) =>
    setLines((old) => old.map((line, i) => (i === old.length - 1 ? changed(line) : line)));
  const grow = (text: string) => change((line) => ({ ...line, text: line.text + text }));

  async function messageOf(text: string, file: File): Promise<Message> {
    if (!file.size) return { role: "user", content: text };
    const { file_id, file_url } = await coze.upload(file);
    // The service shows these and no others; null where it keeps no files.
    if (file_url && /^image\/(png|jpeg|gif|webp)$/.test(file.type)) change((line) => ({ ...line, picture: file_url }));
    return about(text, file_id, file.type.startsWith("image/") ? "image" : "file");
  }

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [text, file] = [String(form.get("text")).trim(), form.get("file") as File];
    if (!text || running) return;
    event.currentTarget.reset();
    const controller = new AbortController();
    setRunning(controller);
    add("user", file.size ? `${text} (${file.name})` : text);
    try {
      const messages = [await messageOf(text, file)];
      add("assistant", "");
      const question = { bot_id, user_id: "user123", conversation_id: conversation.current, messages };
      for await (const event of coze.stream(question, controller.signal)) {
        if (event.type === "message_delta") grow(event.content);
        if (event.type === "chat_completed") conversation.current = event.conversation_id;
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        add("error", error instanceof CozeError ? error.message : "The service cannot be reached.");
      }
    } finally {
      setRunning(null);
    }
  }

  return (
    <main>
      <div role="log">
        {lines.map((line, i) => (
          <p key={i} className={line.role} role={line.role === "error" ? "alert" : undefined}>
            {line.picture && <img src={line.picture} alt="" />}
            {line.text}
          </p>
        ))}
      </div>
      <form onSubmit={send}>
        <input name="text" aria-label="Message" autoComplete="off" autoFocus />
        <input name="file" aria-label="File" type="file" />
        <button disabled={running !== null}>Send</button>
        <button type="button" disabled={running === null} onClick={() => running?.abort()}>Stop</button>
      </form>
    </main>
  );
}
