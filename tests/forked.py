"""Services forked from a process that has loaded the service's modules, which is most of what a start costs.

Each runs what `python -W error -m service` runs, from its main() on, with arguments, variables and a folder of its own.
"""

import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["service.__main__", "litestar.plugins.pydantic", "uvloop"])


class Forked:
    """A service, with as much of subprocess.Popen's interface as tests use.

    Its standard output goes to `log`, and so does its standard error, unless it has a file of its own.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], log: Path, errors: Path | None = None
    ) -> None:
        self._process = _CONTEXT.Process(target=_main, args=([*arguments], folder, dict(env), log, errors or log))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("service", timeout or 0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _main(arguments: list[str], folder: Path, env: dict[str, str], log: Path, errors: Path) -> None:
    for descriptor, file in ((1, log), (2, errors)):
        with file.open("ab") as output:
            os.dup2(output.fileno(), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["coze-service", *arguments]
    warnings.simplefilter("error")
    sys.warnoptions = ["error"]  # for its workers
    from service.command import main  # loaded long ago

    main()
