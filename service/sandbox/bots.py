"""The sandbox's bots: one table of ids, names and what each one does when it is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from . import asks
from . import faults_content as content
from . import faults_http as http
from . import faults_stream as stream
from . import faults_text as text
from . import faults_wire as wire
from .codes import CODES
from .markdown import markdown
from .speaker import speak
from .turn import Steps, Turn
from .wire import dump

PREFIX: Final = "753733451089618"
DEFAULT: Final = PREFIX + "5359"

# What each group of bots is for, in English and in Chinese.
GROUPS: Final = {
    "good": ("answers well", "正常回答"),
    "code": (
        "a JSON error instead of the chat, with the Coze code that the id's last four digits are",
        "以 JSON 错误代替对话，扣子错误码是 ID 的末四位",
    ),
    "http": ("an HTTP answer that is no chat", "不是对话的 HTTP 应答"),
    "connection": ("connections that wait, drip, hang or die", "等待、缓慢、挂起或中断的连接"),
    "failure": ("a stream that begins and then fails", "开始后失败的事件流"),
    "content": ("a good chat with rare or odd content", "内容少见或奇特的正常对话"),
    "framing": ("a good chat in rare or odd server-sent events", "SSE 写法少见或奇特的正常对话"),
    "size": ("much of it: long, large, many", "超长、超大或数量很多"),
    "asks": (
        "a workflow that asks the user something, and goes on with the next message",
        "向用户提问、随下一条消息继续的工作流",
    ),
    "text": (
        "a good chat with broken characters, or values that are not of their type",
        "含有损坏的字符或类型不符的值的正常对话",
    ),
}


@dataclass(frozen=True, slots=True)
class Bot:
    """id: 19 digits. what: one line on what it does. steps: how it does it."""

    id: str
    name: str
    group: str
    what: str
    steps: Callable[[Turn], Steps]

    @property
    def title(self) -> str:
        """The name that people see. The first bot that a newcomer meets is not called by its part in the table."""
        return "Sandbox bot" if self.id == DEFAULT else self.name


def help_text(chinese: bool, question: str) -> str:
    """The table in a chat: the groups, or the rows of those groups and bots that the question names."""
    wants_all = bool(re.search(r"\ball\b|全部", question))
    named = [
        bot
        for bot in BOTS.values()
        if wants_all or bot.group in question or bot.name in question or bot.id[15:] in question
    ]
    if named:
        return "\n".join(f"- `{bot.id}` {bot.name}: {bot.what}" for bot in named)
    lines = [
        "换一个智能体 ID 就能看到一种故障。分组如下（说“帮助 http”看一组，说“帮助 全部”看全部）："
        if chinese
        else 'Another bot id shows another failure. These are the groups (say "help http" for one of them, '
        '"help all" for all):'
    ]
    for group, (english, in_chinese) in GROUPS.items():
        ids = sorted(bot.id for bot in BOTS.values() if bot.group == group)
        lines.append(f"- {group}: {in_chinese if chinese else english} (`{ids[0]}` … `{ids[-1]}`)")
    return "\n".join(lines)


def _default(turn: Turn) -> Steps:
    speech = speak(turn, help_text)
    yield from turn.begin()
    yield from turn.pieces(speech.text.splitlines(keepends=True)) if speech.by_line else turn.words(speech.text)
    yield turn.said(speech.text)
    yield from turn.finish(speech.follow_ups)


def _markdown(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.answer(markdown(turn.question))
    yield from turn.finish()


def _variables(turn: Turn) -> Steps:
    extras = turn.chat.extras
    given = [name for name in ("custom_variables", "parameters") if extras[name] is not None]
    yield from turn.begin()
    yield from turn.answer("\n".join(f"{name}: {dump(extras[name]).decode()}" for name in given) or "nothing")
    yield from turn.finish()


def _code_bots() -> Iterator[Bot]:
    for code, msg in CODES.items():
        if code <= 9999:
            yield Bot(f"{PREFIX}{code}", f"code-{code}", "code", msg, http.json_error(code))


def _table() -> Iterator[Bot]:
    yield Bot(DEFAULT, "default", "good", "Answers about itself, repeats, remembers, describes files.", _default)
    yield Bot(PREFIX + "5360", "variables", "good", "Says its custom_variables and parameters.", _variables)
    yield Bot(PREFIX + "5361", "markdown", "good", "Answers in Markdown.", _markdown)
    yield from _code_bots()
    for group, rows in (
        ("http", http.ROWS),
        ("connection", wire.CONNECTION),
        ("failure", stream.FAILURES),
        ("content", content.CONTENT),
        ("framing", wire.FRAMING),
        ("size", wire.SIZES),
        ("asks", asks.ROWS),
        ("text", text.ROWS),
    ):
        for number, name, what, steps in rows:
            yield Bot(PREFIX + number, name, group, what, steps)


BOTS: Final = {bot.id: bot for bot in _table()}
