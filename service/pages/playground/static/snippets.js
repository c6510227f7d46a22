/** A chat request as code that one can run. No key is in it: where one is needed a placeholder stands. */
const PLACEHOLDER = "YOUR_TOKEN";

const SNIPPETS = {
  curl({ url, body, hasToken }) {
    const headers = [["Content-Type", "application/json"], ...(hasToken ? [["Authorization", `Bearer ${PLACEHOLDER}`]] : [])];
    const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
    return ["curl -N " + quoted(url), ...headers.map((header) => `-H ${quoted(header.join(": "))}`), `-d ${quoted(JSON.stringify(body, null, 2))}`].join(" \\\n  ") + "\n";
  },
  javascript({ url, body, hasToken }) {
    return `const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",${hasToken ? `\n    Authorization: "Bearer ${PLACEHOLDER}",` : ""}
  },
  body: JSON.stringify(${indented(JSON.stringify(body, null, 2))}),
});
if (!response.ok) throw new Error((await response.json()).message);
const decoder = new TextDecoder();
for await (const bytes of response.body) console.log(decoder.decode(bytes, { stream: true }));
`;
  },
  python({ url, body, hasToken }) {
    return `import requests

response = requests.post(
    ${JSON.stringify(url)},
    headers={${hasToken ? `"Authorization": "Bearer ${PLACEHOLDER}"` : ""}},
    json=${indented(python(body), "    ")},
    stream=True,
)
response.raise_for_status()
for line in response.iter_lines(delimiter=b"\\n"):
    print(line.decode())
`;
  },
};

export function snippet(language, { body, ...rest }) {
  return SNIPPETS[language]({ body: JSON.parse(JSON.stringify(body)), ...rest }); // without what is undefined
}

const indented = (text, by = "  ") => text.replaceAll("\n", `\n${by}`);

/** JSON as Python writes it: its texts are the same. */
function python(value, by = "") {
  const inner = `${by}    `;
  if (Array.isArray(value)) return `[\n${value.map((one) => `${inner}${python(one, inner)},\n`).join("")}${by}]`;
  if (value && typeof value === "object") {
    const rows = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${python(one, inner)},\n`);
    return `{\n${rows.join("")}${by}}`;
  }
  if (typeof value === "string") return JSON.stringify(value);
  return { true: "True", false: "False", null: "None" }[value] ?? String(value);
}
