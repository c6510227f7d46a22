// Ant Design X with a provider of its own, that for OpenAI's form with thinking: nothing here knows of this service but
// its address, and that an answer names a conversation.
import { Bubble, Sender, Think } from "@ant-design/x";
import { DeepSeekChatProvider, useXChat, XRequest } from "@ant-design/x-sdk";
import { createElement as h, useState } from "react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);

const provider = new DeepSeekChatProvider({
  request: XRequest(`${asked.get("service")}/openai/v1/chat/completions`, {
    manual: true,
    params: { model: asked.get("model"), stream: true },
    headers: { Authorization: "Bearer none" },
  }),
});

function Said({ content }) {
  const thought = /<think[^>]*>([^]*?)(<\/think>|$)/.exec(content);
  const text = thought ? content.slice(thought.index + thought[0].length) : content;
  return h("div", {}, thought && h(Think, { title: "Thinking" }, thought[1].trim()), h("span", {}, text.trim()));
}

function Chat() {
  const [text, setText] = useState("");
  const { messages, onRequest, abort, isRequesting } = useXChat({
    provider,
    requestFallback: (_, { error, messageInfo }) =>
      error.name === "AbortError"
        ? { role: "assistant", content: `${messageInfo?.message?.content ?? ""} (stopped)` }
        : { role: "assistant", content: `Failed: ${error.message}` },
  });
  const ask = (content) => {
    onRequest({ messages: [{ role: "user", content }] });
    setText("");
  };
  const items = messages.map(({ id, message: { role, content } }) => ({ key: id, role, content: h(Said, { content }) }));
  return h("main", {}, h(Bubble.List, { items, role: { user: { placement: "end" }, assistant: { placement: "start" } } }),
    h(Sender, { value: text, onChange: setText, onSubmit: ask, onCancel: abort, loading: isRequesting }));
}

createRoot(document.getElementById("root")).render(h(Chat));
