"""A sandbox that speaks Coze's HTTP wire on loopback, so that clients of Coze need no account.

`python -m service.sandbox` runs it alone; `running()` runs it in a thread of a program that needs it.
"""

from .bots import DEFAULT as DEFAULT_BOT_ID
from .canary import CANARY
from .server import running

__all__ = ["CANARY", "DEFAULT_BOT_ID", "running"]
