"""The command `python -m service.sandbox`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from .bots import BOTS, GROUPS
from .server import serving
from .settings import BadSettingError, Settings, from_environment


def main() -> int:
    """Serves until SIGTERM or SIGINT; the exit status."""
    default = Settings()
    argparse.ArgumentParser(
        prog="python -m service.sandbox",
        description="Simulates Coze on this machine, as an address for COZE_API_BASE.",
        epilog=f"Variables: HOST ({default.host}), PORT ({default.port}), SANDBOX_FLAVOUR (cloud or studio), "
        f"SANDBOX_DELTA_SECONDS ({default.delta_seconds}), the pause between two words of an answer.",
    ).parse_args()
    try:
        settings = from_environment()
        asyncio.run(_serve(settings))
    except BadSettingError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sandbox: cannot listen at HOST and PORT: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as url:
        print(f"Coze sandbox ({settings.flavour}) at {url} - any token that starts with pat_ or sat_ is good")
        print(_table(url), flush=True)
        await stop.wait()


def _table(url: str) -> str:
    lines = [f"  bots ({len(BOTS)}; {url}/sandbox/bots lists each):"]
    for group, (what, _) in GROUPS.items():
        ids = sorted(bot.id for bot in BOTS.values() if bot.group == group)
        span = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1][-4:]}"
        lines.append(f"  {span:28} {group:11} {what}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
