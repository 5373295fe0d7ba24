"""Progress on a terminal while jobs are judged. In a pipe, log lines tell the same; of `eval`, a line now and then.

The listener is called from the service's threads; rich's display has a lock of its own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.cli import screen
from daemon.cli.outcome import Line
from daemon.engine import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

    from daemon.judging import Deferred
    from daemon.publishing import Finished


class Tally:
    """A listener that remembers which jobs ended and which were left to other hosts. It shows nothing."""

    def __init__(self) -> None:
        self.ended: list[Line] = []  # lines, not whole evaluations: there may be a hundred thousand
        self.deferred_jobs: dict[str, Deferred] = {}

    def claimed(self, job_id: str, name: str) -> None:
        """A bundle was claimed from the inbox."""

    def started(self, job_id: str, name: str) -> None:
        """A job is being judged."""

    def progress(self, progress: Progress) -> None:
        """A job came further."""

    def finished(self, finished: Finished) -> None:
        """A job ended with a result."""
        self.ended.append(Line.of_evaluation(finished.job_id, finished.name, finished.evaluation))

    def deferred(self, deferred: Deferred) -> None:
        """A job waits for another host."""
        self.deferred_jobs[deferred.job_id] = deferred


class Board(Tally):
    """One line per running job: name, case, what is being done, for how long; and how many ended."""

    def __init__(self) -> None:
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("[dim]{task.fields[doing]}"))
        self.bars = Bars(*columns, TimeElapsedColumn(), console=screen.console(err=True), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._claimed = 0
        self._total = self.bars.add_task("starting the judge", total=None, doing="")

    def claimed(self, job_id: str, name: str) -> None:
        self._claimed += 1
        self._count()

    def started(self, job_id: str, name: str) -> None:
        self._remove(job_id)  # of a job that was let go and comes again
        self._tasks[job_id] = self.bars.add_task(_escaped(name), total=None, doing="preparing")

    def progress(self, progress: Progress) -> None:
        if (task := self._tasks.get(progress.job_id)) is not None:
            self.bars.update(task, doing=_escaped(described(progress)))

    def finished(self, finished: Finished) -> None:
        super().finished(finished)
        self._remove(finished.job_id)

    def deferred(self, deferred: Deferred) -> None:
        super().deferred(deferred)
        self._remove(deferred.job_id)

    def _remove(self, job_id: str) -> None:
        if (task := self._tasks.pop(job_id, None)) is not None:
            self.bars.remove_task(task)
        self._count()

    def ready(self) -> None:
        """The judge is there."""
        self._count()

    def _count(self) -> None:
        ended = len(self.ended)
        left = max(0, self._claimed - ended - len(self.deferred_jobs))
        self.bars.update(self._total, description=f"{ended} judged", doing=f"· {left} to go")


def described(progress: Progress) -> str:
    """`N4096 · checking 3/5`."""
    return f"{progress.case} · {progress.text}" if progress.case else progress.text


@contextmanager
def board() -> Iterator[Board | Tally]:
    """A board while the block runs, where a person looks at stderr; else a mere tally."""
    if not screen.on_terminal(sys.stderr):
        yield Tally()
        return
    shown = Board()
    with shown.bars:
        yield shown


@contextmanager
def spoken(name: str, every_s: float = 10.0) -> Iterator[Callable[[Progress], None]]:
    """What is done for one job, for a log: a line now and then while it changes, none for a quick job."""
    latest = ["starting the judge"]
    ended = threading.Event()

    def speak() -> None:
        said = None
        while not ended.wait(every_s):
            if (text := latest[0]) != said:
                screen.say(f"evald: {name}: {text}")
                said = text

    def on_progress(progress: Progress) -> None:
        latest[0] = described(progress)

    speaker = threading.Thread(target=speak, name="spoken", daemon=True)
    speaker.start()
    try:
        yield on_progress
    finally:
        ended.set()
        speaker.join()


@contextmanager
def spinner(name: str, *, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """One line about one job while the block runs. Where nobody looks, a line now and then; for a program none."""
    if not screen.on_terminal(sys.stderr):
        if as_json:
            yield lambda _: None
            return
        with spoken(name) as on_progress:
            yield on_progress
        return
    with screen.console(err=True).status(f"{_escaped(name)}  [dim]starting the judge") as status:
        yield lambda progress: status.update(f"{_escaped(name)}  [dim]{_escaped(described(progress))}")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else " " for c in text))
