"""An answer of the bot: what of it the caller has, and what of it still has to be said.

Coze sends it in deltas and once more as a whole, and either may be missing, or cut within a character.
"""

from zlib import crc32

from service.coze import wire
from service.coze.mending import REPLACEMENT, whole_characters


class BotAnswer:
    """An answer, as far as the caller has it."""

    __slots__ = ("begun", "cut", "reasoned", "reasoning_sum", "sum", "whole")

    def __init__(self) -> None:
        self.begun = False  # some of its text was sent
        self.sum = 0  # CRC of the text in its deltas
        self.reasoned = False  # some of its reasoning was sent
        self.reasoning_sum = 0
        self.whole = False  # Coze has completed it
        self.cut: tuple[str, str] | None = None  # incomplete characters at the end of its text and its reasoning

    def join(self, delta: wire.Message) -> None:
        """Repairs the characters of a delta, which may have begun in the delta before it."""
        text, reasoning = self.cut or ("", "")
        delta.content, text = whole_characters(text + (delta.content or ""))
        delta.reasoning_content, reasoning = whole_characters(reasoning + (delta.reasoning_content or ""))
        self.cut = (text, reasoning) if text or reasoning else None

    def is_repeated_by(self, whole: wire.Message) -> bool:
        """Whether a completed message repeats the deltas: their text, or only their reasoning so far."""
        if self.whole:
            return False
        if self.begun:
            return crc32((whole.content or "").encode()) == self.sum
        return self.reasoned and crc32((whole.reasoning_content or "").encode()) == self.reasoning_sum

    def rest_in(self, whole: wire.Message) -> tuple[str, str]:
        """Returns what is missing of the text and of the reasoning when no more deltas come, and forgets the cut."""
        cut, reasoning_cut = self.cut or ("", "")
        self.cut = None
        content = whole.content if whole.content_type in wire.TEXT else None
        return _rest(content, self.begun, cut), _rest(whole.reasoning_content, self.reasoned, reasoning_cut)


def _rest(whole: str | None, sent: bool, cut: str) -> str:
    """Returns the rest of a text: all of it, or U+FFFD for a character that its deltas left incomplete."""
    if whole and not sent:
        return whole
    return REPLACEMENT if cut else ""
