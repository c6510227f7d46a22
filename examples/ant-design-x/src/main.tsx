import { XProvider } from "@ant-design/x";
import { theme } from "antd";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./Chat.tsx";
import "../../javascript/chat.css";

const { darkAlgorithm, defaultAlgorithm } = theme;
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <XProvider theme={{ algorithm: isDark ? darkAlgorithm : defaultAlgorithm }}>
      <Chat />
    </XProvider>
  </StrictMode>,
);
