"""What the default bot says: who it is, what it was asked, what it remembers, what the files are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from .ask import parts_of
from .history import Json
from .turn import Turn

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_WHO = re.compile(
    r"^\W*(hello|hi|hey|good (morning|afternoon|evening))\b|who are you|what are you|what can you do"
    r"|introduce yourself|about yourself|自我介绍|介绍.{0,4}([你您]|自己)|[你您](好|是谁|能做什么|会什么)",
    re.I,
)
_HELP = re.compile(r"^\W*(help|帮助)(\s*([a-z0-9-]+|全部))?\W*$", re.I)
_MEMORY = re.compile(
    r"how many messages|do you remember|what did i (say|ask)|(my|the) (last|previous) (question|message)"
    r"|记得|刚才|刚刚|之前|上一(个|条|次)|多少条|几条",
    re.I,
)
QUOTED = 4_000  # characters of a question that are repeated


@dataclass(frozen=True, slots=True)
class Speech:
    """An answer, said word by word or line by line, and the questions to follow it."""

    text: str
    follow_ups: tuple[str, ...]
    by_line: bool = False


def speak(turn: Turn, help_text: Callable[[bool, str], str]) -> Speech:
    """What to answer, in the question's language."""
    chinese = bool(_CHINESE.search(turn.question))
    files = [_file(turn, part, chinese) for part in turn.parts if part.get("type") != "text"]
    if _HELP.search(turn.question):
        return Speech(help_text(chinese, turn.question), _follow_ups(chinese), by_line=True)
    if files:
        paragraphs = [_files(files, chinese)]
        if turn.question:
            paragraphs.append(_echo(turn.question, chinese))
    elif _MEMORY.search(turn.question):
        paragraphs = [_memory(turn, chinese)]
    elif _WHO.search(turn.question):
        paragraphs = [_self(chinese)]
    else:
        paragraphs = [_echo(turn.question, chinese)]
        if turn.history:
            paragraphs.append(_memory(turn, chinese))
    return Speech("\n\n".join(paragraphs), _follow_ups(chinese))


def _self(chinese: bool) -> str:
    if chinese:
        return (
            "您好！我是扣子沙盒里的智能体，运行在您自己的电脑上，背后没有大模型，也没有扣子账号。"
            "我会复述您说的话，记得同一个会话里说过什么，也能描述您发来的文件。"
            "想看前端要处理的各种故障，请对我说“帮助”。"
        )
    return (
        "Hello! I am the bot of the Coze sandbox: I run on your own machine, with no model and no Coze "
        "account behind me. I repeat what I am asked, remember what was said in the same conversation, and "
        'describe the files I am sent. To see the failures that a frontend must handle, say "help".'
    )


def _echo(question: str, chinese: bool) -> str:
    quoted = question[:QUOTED]
    if len(question) > QUOTED:
        quoted += f"……（共 {len(question)} 字）" if chinese else f"... ({len(question)} characters in all)"
    return f"您说的是：{quoted}" if chinese else f"You said: {quoted}"


def _memory(turn: Turn, chinese: bool) -> str:
    count = len(turn.history)
    if not count:
        return "这是本会话的第一条消息，之前没有内容。" if chinese else "This is the first message I see here."
    asked = [message for message in turn.history if message["role"] == "user"]
    before = _one_line(asked[-1]) if asked else ""
    if chinese:
        return f"本会话在此之前有 {count} 条消息" + (f"，您上一次问的是：{before}" if before else "。")
    noun = "message" if count == 1 else "messages"
    text = f"Before this, the conversation holds {count} {noun}"
    return f"{text}; the last thing you asked was: {before}" if before else text + "."


def _one_line(message: Json) -> str:
    texts = [str(part.get("text") or "[file]") for part in parts_of(message)]
    line = " ".join(" ".join(texts).split())
    return line if len(line) <= 200 else line[:200] + "..."


def _file(turn: Turn, part: Json, chinese: bool) -> str:
    upload = turn.world.upload(str(part.get("file_id")))
    if upload:
        if chinese:
            return f"{upload.name}（{upload.bytes} 字节，{upload.kind}）"
        return f"{upload.name} ({upload.bytes} bytes, {upload.kind})"
    url = str(part.get("file_url") or "")
    name = unquote(re.split("[?#]", url)[0].rpartition("/")[2]) or url or "?"
    kind = part.get("type")
    if chinese:
        return f"{name}（按链接收到，类型标为 {kind}，内容没有下载，大小未知）"
    return f"{name} (by its link, sent as {kind}; I do not download it, so its size is unknown)"


def _files(files: Iterable[str], chinese: bool) -> str:
    lines = "\n".join(f"- {file}" for file in files)
    return f"我收到了这些文件：\n{lines}" if chinese else f"I received these files:\n{lines}"


def _follow_ups(chinese: bool) -> tuple[str, ...]:
    if chinese:
        return "您是谁？", "我刚才问了什么？", "帮助"
    return "Who are you?", "What did I ask before?", "Help"
