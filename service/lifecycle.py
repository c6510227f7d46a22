"""The stop of a process, announced by the server to the parts that have work in flight."""

from collections.abc import Callable


class Lifecycle:
    """State of the process's stop. Only the server changes it."""

    def __init__(self) -> None:
        self.stopping = False  # true: no new work may begin
        self._at_grace_end: list[Callable[[], None]] = []

    def at_grace_end(self, end_work: Callable[[], None]) -> None:
        """Registers `end_work`, to be called when running work has had SHUTDOWN_GRACE to finish."""
        self._at_grace_end.append(end_work)

    def end_grace(self) -> None:
        """Ends the work that is still running."""
        for end_work in self._at_grace_end:
            end_work()
