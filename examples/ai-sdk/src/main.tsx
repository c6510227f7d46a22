import { createRoot } from "react-dom/client";
import { createCoze } from "../../typescript/client.ts";
import { Thread } from "../../typescript/thread.ts";
import { Visitor } from "../../typescript/visitor.ts";
import { Chat } from "./Chat.tsx";
import { CozeTransport } from "./transport.ts";
import "../../javascript/chat.css";

const url = import.meta.env.VITE_COZE_URL ?? "http://127.0.0.1:2026";
const bot = new URLSearchParams(location.search).get("bot") ?? undefined; // undefined: the service's default bot
const transport = new CozeTransport(new Thread(createCoze(url, new Visitor(url)), bot));
const earlier = await transport.earlier().catch(() => []); // without a network one still sees the page
createRoot(document.getElementById("root")!).render(<Chat transport={transport} earlier={earlier} />);
