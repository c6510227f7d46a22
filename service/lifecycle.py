"""The end of a process, told by the server to whoever has work in flight."""

from collections.abc import Callable


class Lifecycle:
    """One for each process. The server moves it on; nobody else does."""

    def __init__(self) -> None:
        self.stopping = False  # no new work is to begin
        self._at_grace_end: list[Callable[[], None]] = []

    def at_grace_end(self, end_work: Callable[[], None]) -> None:
        """Has `end_work` called once the time is over that running work has to finish by itself."""
        self._at_grace_end.append(end_work)

    def end_grace(self) -> None:
        for end_work in self._at_grace_end:
            end_work()
