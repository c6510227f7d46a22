"""The command: `python -m service`, and with `--sandbox` the same on a Coze of its own."""

import argparse
import contextlib
import dataclasses
import sys

from service import logs, sandbox, settings
from service.app import create_app
from service.coze import Coze
from service.sandbox.settings import BadSettingError, from_environment
from service.server import serve


def main() -> None:
    """Serves until it is stopped. Ends at once, with one line, if a setting is missing or bad."""
    parser = argparse.ArgumentParser(prog="python -m service", description="The HTTP gateway to Coze (扣子) bots.")
    parser.add_argument("--sandbox", action="store_true", help="serve a Coze of its own: no account, no network")
    on_sandbox: bool = parser.parse_args().sandbox
    with contextlib.ExitStack() as stack:
        try:
            overrides = _start_sandbox(stack) if on_sandbox else {}
            chosen = dataclasses.replace(settings.read(overrides), sandbox=on_sandbox)
        except (settings.SettingsError, BadSettingError) as error:
            # No traceback: this line is all that an operator needs.
            sys.exit(str(error))
        logs.configure(chosen.log_level)
        coze = Coze(chosen)
        serve(create_app(chosen, coze), coze, chosen)


def _start_sandbox(stack: contextlib.ExitStack) -> dict[str, str]:
    """Starts the sandbox on a free port, for as long as `stack` is open; the settings that lead to it."""
    own = from_environment()
    url = stack.enter_context(sandbox.running(delta_seconds=own.delta_seconds, flavour=own.flavour))
    return {
        "COZE_API_TOKEN": "pat_sandbox",
        "COZE_API_BASE": url,
        "COZE_BOT_ID": sandbox.DEFAULT_BOT_ID,
        "ENVIRONMENT": "sandbox",
    }


if __name__ == "__main__":
    main()
