"""Wrong clocks: an hour off between hosts, the end of summer time, the year 2038. Leases go by the database's clock."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgres_server
import pytest
from service_bundles import result_of
from service_rehearsal import Place, place
from waiting import wait_for

import daemon

HOUR_S = 3600
# Moves the wall clock of a process, and of nothing else: the monotonic clock stays as it is.
SKEW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long skew(void) { const char *s = getenv("SKEW_S"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += skew();
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec t;
    int result = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec; now->tv_usec = t.tv_nsec / 1000;
    return result;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
"""


@pytest.fixture(scope="module")
def skewing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that, loaded before a program, moves its wall clock by SKEW_S seconds."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler to build the skewed clock with")
    folder = tmp_path_factory.mktemp("skew")
    (folder / "skew.c").write_text(SKEW, "ascii")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "skew.so", "skew.c", "-ldl"], cwd=folder, check=True)
    return folder / "skew.so"


def skewed(monkeypatch: pytest.MonkeyPatch, library: Path, by: float, zone: str = "UTC") -> None:
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SKEW_S", str(round(by)))
    monkeypatch.setenv("TZ", zone)


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["an hour ahead", "an hour behind"])
def test_a_daemon_whose_clock_is_an_hour_off_takes_no_lease_away_and_loses_none(
    postgres: postgres_server.PostgresServer, skewing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: int
) -> None:
    with place(tmp_path / "home", postgres.create_database()) as here:
        right = here.start(is_held=True)
        with monkeypatch.context() as wrong:
            skewed(wrong, skewing, by_s)
            off = here.start(REHEARSAL_S="0.1", DEVICE="cpu")
        wait_for(lambda: "watching" in right.story and "watching" in off.story, "both daemons to watch")
        here.drop("long", requires={"gpu": "H200"})  # which only the first one has
        wait_for(lambda: here.state("long") == "running", "the job to run")
        here.drop("short")  # the first one is busy: the daemon whose clock is off takes it
        wait_for(lambda: here.has_results("short"), "its result")
        here.let_go("long")
        wait_for(lambda: here.has_results("long"), "the other result")
        wait_for(lambda: here.faults("long", "short") == [], "both put away")
        assert {name: job.attempts for name, job in here.jobs().items()} == {"long": 1, "short": 1}
        assert off.stop() == 0
        told = datetime.fromisoformat(str((result_of(here.home, "short") or {})["finished_at"]))
        assert abs((told - datetime.now(UTC)).total_seconds()) > HOUR_S / 2, "control: that daemon's clock was off"


MOMENTS = {
    "the last second of 32 bits": (datetime(2038, 1, 19, 3, 14, 5, tzinfo=UTC), "UTC", "2038-01"),
    "the hour that comes twice": (datetime(2027, 11, 7, 5, 59, 58, tzinfo=UTC), "America/New_York", "2027-11"),
    "a month's last second, ahead of UTC": (datetime(2027, 5, 31, 20, 0, 0, tzinfo=UTC), "Asia/Tokyo", "2027-05"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_daemon_goes_through_a_moment_that_is_hard_for_clocks(
    here: Place, skewing: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    when, zone, month = MOMENTS[moment]
    with monkeypatch.context() as wrong:
        skewed(wrong, skewing, (when - datetime.now(UTC)).total_seconds(), zone)
        daemon_there = here.start()
        for name in ("one", "two", "three"):
            here.drop(name)
            wait_for(lambda name=name: here.has_results(name), f"the result of {name}")
        wait_for(lambda: here.faults("one", "two", "three") == [], "everything put away")
        assert daemon_there.stop() == 0
    told = [datetime.fromisoformat(str((result_of(here.home, name) or {})["finished_at"])) for name in ("one", "three")]
    assert all(one.utcoffset() == timedelta(0) for one in told)
    assert told[0] < told[1] and when <= told[0] < when + timedelta(minutes=5)
    assert {path.parent.parent.name for path in (here.home / "results").glob("[0-9]*/*/result.json")} == {month}
    assert all(job.attempts == 1 for job in here.jobs().values())


WALL_CLOCKS = {"now", "utcnow", "today", "time"}


def wall_clock_calls(path: Path) -> list[str]:
    """Where a file asks this host for the time of day: `datetime.now`, `time.time` and their like."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return [
        f"{path.name}: {ast.unparse(call)}"
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in WALL_CLOCKS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("datetime", "date", "time")
    ]


def test_nobody_but_sqlite_which_has_no_other_is_ever_given_this_hosts_clock(tmp_path: Path) -> None:
    package = Path(daemon.__file__).parent
    files = [*(package / "db").glob("*.py"), *(package / "scheduler").glob("*.py"), package / "presence.py"]
    assert [call for file in files for call in wall_clock_calls(file)] == ["sqlfunctions.py: datetime.now(UTC)"]
    (tmp_path / "control.py").write_text("import time\nlate = time.time() > 7\n", "utf-8")
    assert wall_clock_calls(tmp_path / "control.py") == ["control.py: time.time()"]
    assert os.environ.get("LD_PRELOAD") is None
