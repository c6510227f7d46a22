/**
 * Markdown that is still growing, without half a mark in it: one that is not closed yet is closed, and what may still
 * become something else waits. The end of the text is looked at, no more.
 */
const FENCE = /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})([^\n]*)$/;
// A line that so far consists of marks may become a list, a rule, a heading, the underline of one, a fence.
const MARKS = /^[ \t>]*(?:[-+*=_#|~`:[\]!\\<\s]{0,80}|\d{1,9}[.)]?\s*)$/;
const BEGINS_BLOCK = /^[ \t>]*(?:[-*+]|\d{1,9}[.)]|#{1,6}|\|)(?:[ \t]|$)|^\|/;
const MAX_INLINE = 2000; // characters of a paragraph in which open marks are looked for

export function withoutHalves(text) {
  const start = text.lastIndexOf("\n") + 1;
  const line = text.slice(start);
  const fence = openFence(text.slice(0, start));
  if (fence) return new RegExp(`^[ \\t>]*[${fence}]+$`).test(line) ? text.slice(0, start) : text;
  const table = headOfTable(text);
  if (table >= 0) return text.slice(0, table);
  if (line && (MARKS.test(line) || FENCE.test(line))) return text.slice(0, start);
  const from = inlineStart(text, start);
  return text.slice(0, from) + closed(text.slice(from));
}

/** The sign of the fence that is open at the end of whole lines, or null. */
export function openFence(lines) {
  let fence = null;
  for (const line of lines.split("\n")) {
    const [, run, rest] = FENCE.exec(line) ?? [];
    if (!run) continue;
    if (!fence && !(run[0] === "`" && rest.includes("`"))) fence = run;
    else if (fence && run[0] === fence[0] && run.length >= fence.length && !rest.trim()) fence = null;
  }
  return fence && fence[0];
}

/** Where a table begins of which the line below its head is not whole; -1 if there is none. */
function headOfTable(text) {
  const whole = text.endsWith("\n") ? text.slice(0, -1) : text;
  const last = whole.lastIndexOf("\n") + 1;
  const before = whole.lastIndexOf("\n", last - 2) + 1;
  const isRow = (at) => whole[at] === "|";
  if (!isRow(last)) return -1;
  if (last === 0 || !isRow(before)) return last;
  const isSecond = before === 0 || !isRow(whole.lastIndexOf("\n", before - 2) + 1);
  return isSecond && whole === text ? before : -1;
}

/** Where the words begin that marks at the end of the text can belong to. `line` is where the last line begins. */
function inlineStart(text, line) {
  const row = /^\|.*\|(?!$)/.exec(text.slice(line));
  if (row) return line + row[0].length;
  let at = line;
  while (at > 0 && text.length - at < MAX_INLINE && !BEGINS_BLOCK.test(text.slice(at, at + 20))) {
    const before = text.lastIndexOf("\n", at - 2) + 1;
    if (!text.slice(before, at).trim()) break;
    at = before;
  }
  return at;
}

/** A piece of a paragraph with its open marks closed, up to what has to wait. */
function closed(words) {
  if (words.length > MAX_INLINE) return words;
  const open = []; // marks, the innermost last
  let at = 0;
  const upTo = (end, code = "") => {
    let shown = words.slice(0, end);
    if (!open.length && !code) return shown;
    if (!code) shown = shown.trimEnd(); // a mark behind a space closes nothing
    while (!code && open.length && shown.endsWith(open.at(-1))) shown = shown.slice(0, -open.pop().length).trimEnd(); // nothing is in it yet
    return shown + code + open.toReversed().join("");
  };
  while (at < words.length) {
    const sign = words[at];
    if (sign === "\\") {
      if (at + 1 === words.length) return upTo(at);
      at += 2;
    } else if (sign === "`") {
      const [run] = /^`+/.exec(words.slice(at));
      const rest = words.slice(at + run.length);
      const close = new RegExp(`(?<!\`)${run}(?!\`)`).exec(rest);
      if (close) at += run.length + close.index + run.length;
      else if (!rest.trim()) return upTo(at);
      else return upTo(at + run.length + rest.replace(/`+$/, "").length, run);
    } else if (sign === "[" || (sign === "!" && words[at + 1] === "[")) {
      const link = linkAt(words, sign === "!" ? at + 1 : at);
      if (link.isOpen) return upTo(at);
      at = link.end;
    } else if (sign === "!" && at + 1 === words.length) {
      return upTo(at);
    } else if (sign === "<" && /^<[a-z][^\s>]*$/i.test(words.slice(at))) {
      return upTo(at);
    } else if ("*_~".includes(sign)) {
      let run = words.slice(at).match(sign === "*" ? /^\*+/ : sign === "_" ? /^_+/ : /^~+/)[0].length;
      const [before, after] = [words[at - 1] ?? " ", words[at + run]];
      if (after === undefined) return upTo(at);
      at += run;
      if (/\S/.test(before)) {
        while (run && open.at(-1)?.[0] === sign && open.at(-1).length <= run) run -= open.pop().length;
      }
      const splitsWord = /[\p{L}\p{N}]/u.test(before) && (sign === "_" || (run === 1 && /[a-z0-9]/i.test(before)));
      if (run && /\S/.test(after) && !splitsWord && (sign !== "~" || run === 2)) {
        if (run >= 3) open.push(sign, sign.repeat(2));
        else open.push(sign.repeat(run));
      }
    } else {
      at += 1;
    }
  }
  return upTo(words.length);
}

/** The link or picture whose label begins at `at`: its end, or that it is not whole. */
function linkAt(words, at) {
  const label = balanced(words, at, "[", "]");
  if (label < 0 || label === words.length) return { isOpen: true };
  if (words[label] !== "(") return { end: at + 1 };
  const target = balanced(words, label, "(", ")");
  return target < 0 ? { isOpen: true } : { end: target };
}

/** Where what opens at `at` has closed, -1 if it has not. */
function balanced(words, at, open, close) {
  let depth = 0;
  for (let end = at; end < words.length; end++) {
    if (words[end] === "\\") end += 1;
    else if (words[end] === open) depth += 1;
    else if (words[end] === close && --depth === 0) return end + 1;
  }
  return -1;
}
