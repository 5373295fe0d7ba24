"""A daemon whose file calls below its home fail, each at a place in its code; the books about it as JSON.

Run with `failing_calls.so` preloaded, which asks the `Injector` before every such call. A place is a call with the
lines of evald that lead to it: told so, and not by their number, places are the same ones each time, whatever threads
do. `argv`: an empty folder on a quick disk, the library, and what to try: `all ERRNO…` (one run for each, in which
every place fails the first time it is reached), `each ERRNO…` (a run for every place) or `each:CALL,… ERRNO…` (for
those of these calls). A minus before an errno: the call is made, and its reply is lost.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from daemon import log, outage, runner
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import AttemptOutcome
from daemon.errors import HarnessError
from daemon.lifecycle import JobState
from daemon.opening import opened
from daemon.scheduler import faults, workers

SOURCE = "class Model(nn.Module):\n    def forward(self): return torch.ones(1)\n"
CONTRACT = json.dumps({"kernel": {"kernel_type": "torch", "source_file": "src/kernel.py"}})
EVALD = f"{Path(log.__file__).parent}/"
MAKES_A_CHANGE = (
    "open",
    "openat2",
    "write",
    "close",
    "fsync",
    "rename",
    "mkdir",
    "unlink",
    "rmdir",
    "symlink",
    "chmod",
)
LIMIT_S = 600.0
AT_ONCE = 2


def hurry() -> None:
    """Pauses are for servers that take their time."""
    outage._BACK_OFF_S = 0.02
    outage._PAUSES_S = (0.01, 0.02, 0.03)
    workers._PAUSE_AFTER_FAULT_S = workers._IDLE_LIMIT_S = 0.02
    faults._PAUSE_S, faults._LONGEST_S = 0.02, 0.1
    runner._AGAIN_S = 0.2


@dataclass
class Injector:
    """`places` reached so far. One fails with `answer` when it is the `target`, or the first time where that is None
    and `every` says so."""

    answer: Any = 0
    target: str | None = None
    every: bool = False
    places: set[str] = field(default_factory=set)
    is_on: bool = True
    exempt: int = field(default_factory=threading.get_ident)

    def is_to_fail(self, call: str) -> bool:
        """Called at the place itself, where `call` is about to be made."""
        if not self.is_on or threading.get_ident() == self.exempt:
            return False
        place = _place(call)
        if place in self.places or place.endswith(" "):
            return False
        self.places.add(place)
        return self.every or place == self.target


class FileCalls:
    """Below one folder, by the preloaded library."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)

    def fail(self, home: Path, injector: Injector) -> None:
        def ask(call: bytes, _: bytes) -> int:
            return int(injector.answer) if injector.is_to_fail(call.decode()) else 0

        self._asked = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)(ask)
        self._library.failing_calls(os.fsencode(home), self._asked)


def _place(call: str) -> str:
    lines = []
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(EVALD):
            lines.append(f"{file.removeprefix(EVALD)}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return f"{call} {' '.join(lines)}"


class Trial:
    """One home with three bundles, of which two are sound, and one daemon."""

    def __init__(self, folder: Path, injector: Injector, max_attempts: int, database: str | None = None) -> None:
        self.injector = injector
        self.settings = Settings(
            home=folder / "home",
            state=folder / "state",
            engine="rehearsal",
            rehearsal_s=0.01,
            quiet_s=0.05,
            scan_interval_s=0.05,
            reconcile_s=0.3,
            lease_s=60,
            min_free_bytes=1,
            polling="always",
            max_attempts=max_attempts,
            database=database,
        )
        self.paths = self.settings.paths
        self.paths.create()
        shutil.copy(folder.parent / "empty.sqlite3", self.paths.state / "evald.sqlite3")
        _write_bundles(self.paths.inbox)

    def run(self) -> dict[str, object]:
        """A daemon from its start until all is tidy; where storage fails at its start another one, as systemd does."""
        story = StringIO()
        log.LOGGER.handlers[:] = [logging.StreamHandler(story)]
        log.LOGGER.setLevel("INFO")
        log.LOGGER.propagate = False
        ended: list[str] = []
        database = Database(self.settings.database_url)
        history = History(database)
        deadline_s = time.monotonic() + LIMIT_S
        while not self._is_tidy(history) and time.monotonic() < deadline_s:
            self._serve(lambda: self._is_tidy(history) or time.monotonic() > deadline_s, ended)
        self.injector.is_on = False
        books = {"ended": ended, "wrong": [*self._wrong(history), *_bugs(story.getvalue())]}
        database.close()
        return books

    def _serve(self, is_enough: Callable[[], bool], ended: list[str]) -> None:
        is_at_work = threading.Event()

        def serve() -> None:
            try:
                with opened(self.settings) as service:
                    services.append(service)
                    is_at_work.set()
                    service.run()
                    is_at_work.clear()
            except BaseException as error:
                fault = error.__cause__ if isinstance(error, HarnessError) else error
                passes = isinstance(fault, OSError) or isinstance(error, StorageUnavailable)
                if passes and not is_at_work.is_set():  # at its start and at its end: exit code 75
                    return
                ended.append(f"{type(error).__name__}: {error}")

        services: list[object] = []
        thread = threading.Thread(target=serve)
        thread.start()
        while thread.is_alive() and not (services and is_enough()):
            time.sleep(0.02)
        for service in services:
            service.stop()  # type: ignore[attr-defined]
        thread.join(LIMIT_S)

    def _is_tidy(self, history: History) -> bool:
        jobs = [job for job in history.jobs().jobs if job.state is not JobState.WITHDRAWN]
        if len(jobs) < 3 or not all(job.state.final for job in jobs):
            return False
        return not self._left() and len(list(self.paths.results.glob("[0-9]*/*/result.json"))) >= 3

    def _left(self) -> list[str]:
        shelves = (self.paths.inbox, self.paths.work, self.paths.outbox, self.paths.quarantine, self.paths.jobs)
        return [f"left: {entry}" for shelf in shelves for entry in shelf.iterdir()]

    def _wrong(self, history: History) -> Iterator[str]:
        jobs = [job for job in history.jobs().jobs if job.state is not JobState.WITHDRAWN]
        verdicts = {job.name: str(job.verdict) for job in jobs}
        expected = {"folder": "unsupported", "packed.zip": "unsupported", "senseless": "rejected"}
        if verdicts != expected or len(jobs) != len(expected):
            yield f"verdicts: {verdicts} {[job.message for job in jobs]}"
        for job in jobs:
            outcomes = [attempt.outcome for attempt in history.attempts(job.job_id)]
            if outcomes.count(AttemptOutcome.PUBLISHED) != 1 or (job.attempts != 1 and not self.injector.every):
                yield f"attempts: {job.name} {[str(outcome) for outcome in outcomes]}"
            if len(list(self.paths.results.glob(f"[0-9]*/{job.job_id}/result.json"))) != 1:
                yield f"no result: {job.name}"
            if not (self.paths.results / "by-name" / job.name / "result.json").exists():
                yield f"no name: {job.name}"
        yield from self._left()
        yield from (f"draft: {entry}" for entry in self.paths.home.rglob("*.tmp*"))


def _bugs(story: str) -> list[str]:
    return [f"bug: {story[story.index('Traceback') :]}"] if "Traceback" in story else []


def _write_bundles(inbox: Path) -> None:
    (inbox / "folder" / "src").mkdir(parents=True)
    (inbox / "folder" / "contract.json").write_text(CONTRACT, "utf-8")
    (inbox / "folder" / "src" / "kernel.py").write_text(SOURCE, "utf-8")
    (inbox / "folder" / "src" / "twin.py").symlink_to("kernel.py")
    with zipfile.ZipFile(inbox / "packed.zip", "w") as packed:
        packed.writestr("contract.json", CONTRACT)
        packed.writestr("src/kernel.py", SOURCE)
    (inbox / "senseless").mkdir()
    (inbox / "senseless" / "contract.json").write_text("{}", "utf-8")


def tried(
    folder: Path, injectors: list[Injector], run: Callable[[Path, Injector], dict[str, object]]
) -> Iterator[dict[str, object]]:
    """What came of each, in processes of their own, which share what this one has imported."""
    waiting, running = dict(enumerate(injectors)), dict[int, int]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, injector = waiting.popitem()
            pid = os.fork()
            if pid == 0:
                try:
                    books = run(folder / str(number), injector)
                    told = {**books, "places": sorted(injector.places)}
                    (folder / f"{number}.json").write_text(json.dumps(told), "utf-8")
                finally:
                    os._exit(0)
            running[pid] = number
        number = running.pop(os.wait()[0])
        injector, file = injectors[number], folder / f"{number}.json"
        books = json.loads(file.read_text("utf-8")) if file.exists() else {"wrong": ["it died"]}
        shutil.rmtree(folder / str(number), ignore_errors=True)
        yield {"answer": injector.answer, "place": injector.target, **books}


def tell(
    folder: Path,
    what: str,
    answers: list[Any],
    may_fail: Callable[[str, Any], bool],
    run: Callable[[Path, Injector, int], dict[str, object]],
) -> None:
    """Print the books of every run: `what` is `all` or `each`; which places may fail with which answer; `run` has the
    number of attempts that a job may have."""
    if what == "all":
        injectors, attempts = [Injector(answer, every=True) for answer in answers], 1000
    else:
        [sound] = tried(folder, [Injector()], lambda place, injector: run(place, injector, 3))
        assert not sound["wrong"], sound
        places = [str(one) for one in sound["places"]]  # type: ignore[attr-defined]
        injectors = [Injector(answer, one) for answer in answers for one in places if may_fail(one, answer)]
        attempts = 3
    for books in tried(folder, injectors, lambda place, injector: run(place, injector, attempts)):
        print(json.dumps(books), flush=True)


def main() -> None:
    folder, library, what, *names = sys.argv[1:]
    what, _, only = what.partition(":")
    calls = only.split(",") if only else None
    place, shim = Path(folder), FileCalls(library)
    answers = [-getattr(errno, name[1:]) if name.startswith("-") else getattr(errno, name) for name in names]
    migrate.ensure_ready(f"sqlite:///{place}/empty.sqlite3")
    hurry()

    def may_fail(where: str, answer: int) -> bool:
        call = where.split(maxsplit=1)[0]
        return (answer > 0 or call in MAKES_A_CHANGE) and (calls is None or call in calls)

    def run(at: Path, injector: Injector, max_attempts: int) -> dict[str, object]:
        trial = Trial(at, injector, max_attempts)
        shim.fail(trial.paths.home, injector)
        return trial.run()

    tell(place, what, answers, may_fail, run)


if __name__ == "__main__":
    main()
