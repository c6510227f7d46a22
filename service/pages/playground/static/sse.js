/**
 * The events of a server-sent event stream, each as `{ id, data }`, however its bytes are split: a character cut in two
 * waits in the decoder, a line cut in two in `rest`. Leaving the loop closes the connection; so do `silence`
 * milliseconds without a byte, where that is given.
 */
export async function* eventsOf(body, silence) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const close = () => reader.cancel().catch(() => {});
  let rest = "";
  let [id, data] = [null, []];
  let timer;
  try {
    for (;;) {
      if (silence) timer = setTimeout(close, silence);
      const { done, value } = await reader.read();
      clearTimeout(timer);
      rest += decoder.decode(value, { stream: !done });
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
        if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        } else if (line.startsWith("id:")) {
          id = line.slice(3).trim();
        } else if (line === "" && data.length) {
          yield { id, data: data.join("\n") };
          [id, data] = [null, []];
        }
      }
      if (done) return;
    }
  } finally {
    clearTimeout(timer);
    close();
  }
}
