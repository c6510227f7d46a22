"""The command: `coze-service` or `python -m service`, and with `--sandbox` the same on a built-in Coze simulator."""

import argparse
import asyncio
import contextlib
import dataclasses
import re
import signal
import socket
import sys
from typing import Any

import structlog

from service import settings
from service.app import create_app
from service.bounds import BOUNDS
from service.contract import contract
from service.coze import Coze, Route, route_to_coze
from service.gate.callers import new_key
from service.lifecycle import Lifecycle
from service.observe import logs, metrics, metrics_folder
from service.observe.coze_observer import CozeObserver, announce
from service.process.listen import allow_files, listen, serve_metrics, url_of
from service.process.run_files import RunFiles
from service.process.server import serve
from service.process.worker import Parent, worker_command
from service.process.workers import Supervisor
from service.settings import Settings
from service.settings.values import CALLER_NAME
from service.store import StoreUnusable, open_store
from service.users import user_tokens

log = structlog.get_logger()


def main() -> None:
    """Serves until a signal stops it. Exits with one line on standard error if a setting is missing or bad."""
    parser = argparse.ArgumentParser(
        prog="coze-service",
        description="A small HTTP gateway to Coze (扣子) bots that keeps the token on the server.",
        epilog=_variables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=contract().version)
    parser.add_argument("--sandbox", action="store_true", help="run with a built-in Coze simulator; no account")
    parser.add_argument(
        "--new-api-key",
        nargs="?",
        const="caller",
        metavar="NAME",
        help="print a new key for a caller, and its entry for API_KEYS",
    )
    # Internal: serve on a socket inherited from the parent process, with metrics in its folder.
    parser.add_argument("--worker", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("--metrics-folder", help=argparse.SUPPRESS)
    # For tests.
    parser.add_argument("--bound", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for bound in arguments.bound:
        try:
            BOUNDS.change(bound)
        except ValueError as error:
            parser.error(str(error))
    if arguments.new_api_key is not None:
        if not re.fullmatch(CALLER_NAME, arguments.new_api_key):
            parser.error("NAME takes letters, digits and . _ -, at most 64 of them")
        key, entry = new_key(arguments.new_api_key)
        print(f"The key, for the caller; it is shown only now: {key}\nFor the service: API_KEYS={entry}")
        return
    with contextlib.ExitStack() as stack:
        try:
            # Nothing else may configure a token or a proxy for the sandbox. Workers inherit its settings.
            others = (*settings.TOKEN_SETTINGS[1:], *settings.PROXY_SETTINGS)
            own_coze = dict.fromkeys(others, "") if arguments.sandbox else {}
            if arguments.sandbox and arguments.worker is None:
                own_coze |= _start_sandbox(stack)
            chosen = dataclasses.replace(settings.read(own_coze), sandbox=arguments.sandbox)
            logs.configure(chosen)
            route = route_to_coze(chosen)
            if arguments.worker is not None:
                parent = Parent()
                if arguments.metrics_folder:
                    stack.enter_context(metrics_folder.held(arguments.metrics_folder))
                listener = stack.enter_context(socket.socket(fileno=arguments.worker))
                _serve(chosen, route, listener, parent=parent)
                return
            for name, meant in settings.misnamed():
                log.warning("a variable may be meant for a setting", variable=name, setting=meant)
            sys.exit(_run(chosen, route, own_coze, arguments.bound, stack))
        except settings.SettingsError as error:
            # No traceback: this line is all that an operator needs.
            sys.exit(str(error))


def _run(
    chosen: Settings, route: Route, own_coze: dict[str, str], bounds: list[str], stack: contextlib.ExitStack
) -> int:
    """Serves in this process or in workers, which inherit `own_coze` and `bounds`. Returns the exit code."""
    # Before anything serves there is nothing to drain.
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: sys.exit(0))
    # What cannot work ends the start here, with one line, and not in each worker.
    user_tokens(chosen)
    asyncio.run(_try_store(chosen))
    files = RunFiles(
        chosen.pid_file, chosen.ready_file, chosen.shutdown_grace + BOUNDS.worker_stop_seconds + BOUNDS.end_seconds
    )
    stack.callback(files.remove_ready_file)
    metrics_folder.remove_unused()
    folder = None
    if chosen.metrics and chosen.workers > 1:
        folder = stack.enter_context(metrics_folder.held())
    if chosen.metrics and chosen.metrics_port is not None:
        serve_metrics(chosen, folder)
    allow_files(chosen)
    announce(route)
    listener = stack.enter_context(listen(chosen))

    def on_ready() -> None:
        files.tell_address(url_of(listener))

    if chosen.workers == 1:
        _serve(chosen, route, listener, on_ready=on_ready, on_stop=files.tell_stop)
        return 0
    options = ["--sandbox"] if chosen.sandbox else []
    options += ["--metrics-folder", folder] if folder else []
    options += [f"--bound={bound}" for bound in bounds]
    # prometheus_client reads the variable when it is imported.
    env = settings.environment_with(own_coze | ({"PROMETHEUS_MULTIPROC_DIR": folder} if folder else {}))
    supervisor = Supervisor(
        worker_command(*options),
        listener,
        count=chosen.workers,
        grace=chosen.shutdown_grace,
        env=env,
        on_ready=on_ready,
        on_stop=files.tell_stop,
        on_end=lambda place: metrics.forget_worker(place, folder) if folder else None,
    )
    return supervisor.run()


async def _try_store(chosen: Settings) -> None:
    """Opens the store once. Raises SettingsError if it cannot be used at all."""
    if chosen.store is not None:
        try:
            async with open_store(chosen.store, chosen.conversation_lifetime):
                pass
        except StoreUnusable as error:
            raise settings.SettingsError(str(error)) from None


def _variables() -> str:
    """Returns the epilog of `--help`: the settings, the signals and the pages."""
    lines = ["variables, from the environment, else from .env in the working folder:"]
    for setting in settings.SETTINGS:
        unit = f" ({setting.unit})" if setting.unit else ""
        lines += [f"  {setting.name}={setting.default or ''}{unit}", f"      {setting.help.replace('`', '')}"]
    lines += ["", "SIGTERM stops it in order; SIGHUP, with WORKERS of 2 or more, restarts the workers one by one."]
    lines += ["Once it runs: /docs to read and try the API, /playground to chat, /openapi.yaml for the contract."]
    return "\n".join(lines)


def _serve(chosen: Settings, route: Route, listener: socket.socket, **hooks: Any) -> None:
    lifecycle = Lifecycle()
    if not chosen.tracing:
        coze = Coze(chosen, CozeObserver(), lifecycle, route=route)
        serve(create_app(chosen, coze, lifecycle), lifecycle, chosen, listener, **hooks)
        return
    # Imported only here: it costs a third of a second and some megabytes.
    from service.observe.tracing import Tracing

    settings.share_dotenv("OTEL_")
    tracing = Tracing()
    coze = Coze(chosen, CozeObserver(tracing), lifecycle, route=route)
    serve(create_app(chosen, coze, lifecycle, tracing), lifecycle, chosen, listener, **hooks)
    tracing.stop()


def _start_sandbox(stack: contextlib.ExitStack) -> dict[str, str]:
    """Starts the sandbox on a free port until `stack` closes. Returns the settings that lead to it.

    Raises SettingsError if one of the sandbox's own settings is bad.
    """
    # Imported only here: aiohttp costs a third of a second and eight megabytes.
    from service import sandbox
    from service.sandbox.settings import BadSettingError, from_environment

    try:
        own = from_environment()
    except BadSettingError as error:
        raise settings.SettingsError(str(error)) from None
    url = stack.enter_context(sandbox.running(delta_seconds=own.delta_seconds, flavour=own.flavour))
    return {
        "COZE_API_TOKEN": "pat_sandbox",
        "COZE_API_BASE": url,
        "COZE_BOT_ID": sandbox.DEFAULT_BOT_ID,
        "ENVIRONMENT": "sandbox",
    }
