"""How far a long run of episodes is, by task and in all: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping

from tqdm import tqdm

LOG_EVERY_S = 30.0


class EpisodeProgress:
    """Counts episodes as they end.

    A terminal shows one bar for all with the present task behind it, and keeps a line for each task that is complete;
    a file gets those lines, and one about the whole every half a minute.

    Args:
        wanted: task -> number of episodes.
        done: task -> episodes that need not be run.
        names: task -> what to call it.
    """

    def __init__(self, wanted: Mapping[int, int], *, done: Mapping[int, int], names: Mapping[int, str]) -> None:
        self._wanted, self._done, self._names = Counter(wanted), Counter(done), names
        self._failed: Counter[int] = Counter()
        self._start = self._logged = time.monotonic()
        self._new = 0
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=self._wanted.total(),
            initial=self._done.total(),
            unit="episode",
            desc="demonstrations",
            disable=not self._terminal,
        )

    def add(self, task: int, *, failed: bool = False) -> None:
        """One more episode of the task has ended."""
        self._done[task] += 1
        self._failed[task] += failed
        self._new += 1
        self._bar.set_postfix_str(self._of_task(task), refresh=False)
        self._bar.update()
        if self._done[task] == self._wanted[task]:
            self._say(f"{self._of_task(task)}: {self._names[task]}")
        if not self._terminal and time.monotonic() - self._logged >= LOG_EVERY_S:
            self._say(f"{self._of_all()}, now {self._of_task(task)}")

    def give_up(self, task: int, reason: str) -> None:
        """The task's other episodes will not be run."""
        self._say(f"task {task} given up: {reason}: {self._names[task]}")
        self._wanted[task] = self._done[task]
        self._bar.total = self._wanted.total()
        self._bar.refresh()

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()
        self._say(self._of_all())

    def _say(self, line: str) -> None:
        self._logged = time.monotonic()
        tqdm.write(line, file=sys.stderr)

    def _of_task(self, task: int) -> str:
        failed = f", {self._failed[task]} failed" if self._failed[task] else ""
        return f"task {task} {self._done[task]}/{self._wanted[task]}{failed}"

    def _of_all(self) -> str:
        done, wanted = self._done.total(), self._wanted.total()
        minutes = (time.monotonic() - self._start) / 60
        line = f"{done}/{wanted} episodes"
        if self._new == 0:
            return line
        line += f", {self._new / minutes:.1f} a minute"
        return f"{line}, {_duration((wanted - done) * minutes / self._new)} left" if done < wanted else line


def _duration(minutes: float) -> str:
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
