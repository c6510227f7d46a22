"""A text to look for where nothing of a bot's making may be told."""

from __future__ import annotations

from typing import Final

CANARY: Final = "canary-of-the-making"
