"""The leaderboard of `evald stats --problem`: the fastest kernels of one problem, device by device."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from daemon.cli import figures, screen
from daemon.cli.screen import Column
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from daemon.callers import Callers
    from daemon.db.connection import Database
    from daemon.db.history import History
    from daemon.db.statistics_records import Standing

_STANDINGS_READ = 1000
# References of one task scatter as machines do. From this ratio on they are called different.
_REFERENCES_APART = 3
# Labels that say how a figure came about or that it may be too long, and nothing against a kernel that is fast.
_NO_DOUBT = frozenset(
    {"copy_included", "copy_subtracted", "launch_bound", "power_capped", "throttled", "shared_device"}
)


@dataclass(frozen=True)
class Board:
    """Which kernels are ranked, and who of their senders came over HTTP. `device_name` None: on every device."""

    database: Database | None
    problem: str
    device_name: str | None
    senders: Callers

    def standings(self, limit: int, per_submitter: int | None) -> tuple[Standing, ...]:
        """Raises `OperatorError` for a device that nobody has passed it on."""
        from daemon.db.history import History

        if self.database is None:
            return ()
        history = History(self.database)
        found = history.leaderboard(
            self.problem,
            device_name=self.device_name,
            limit=limit,
            per_submitter=per_submitter,
            callers=self.senders,
        )
        if self.device_name is not None and not found:
            _require_known_device(history, self.problem, self.device_name)
        return found


def _require_known_device(history: History, problem: str, device: str) -> None:
    """Raises `OperatorError` with the devices of the fastest kernels when nobody passed `problem` on `device`."""
    names = {one.device_name for one in history.leaderboard(problem, limit=_STANDINGS_READ)} - {None}
    if names:
        quoted = ", ".join(f'"{name}"' for name in sorted(map(str, names)))
        raise OperatorError(
            f"no kernel has passed problem {problem!r} on a device called {device!r}",
            hint=f"write the whole name; the fastest ran on: {quoted}",
        )


def show(board: Board, standings: tuple[Standing, ...], limit: int, per_submitter: int | None) -> None:
    """Print `limit` lines of each device. `standings` may hold one more of each, which tells that there are more."""
    devices = [list(ranked) for _, ranked in groupby(standings, key=lambda one: one.device_name)]
    is_of_several = len(set(map(_submitter, standings))) > 1
    for number, ranked in enumerate(devices):
        screen.heading(ranked[0].device_name or "unknown device", is_first=number == 0)
        _ranking([one for one in ranked if one.rank <= limit], with_submitter=is_of_several)
    if any(one.rank > limit for one in standings):
        screen.say_there_are_more(limit)
        if per_submitter is None:
            _say_who_has_no_line(standings, limit, board.standings(limit, 1))


def _say_who_has_no_line(standings: tuple[Standing, ...], limit: int, fastest: tuple[Standing, ...]) -> None:
    """Others may have taken all the lines by many names. `fastest`: of each submitter on each device."""
    shown = {(one.device_name, _submitter(one)) for one in standings if one.rank <= limit}
    missing = {_submitter(one) for one in fastest if (one.device_name, _submitter(one)) not in shown}
    if missing:
        who = "1 submitter has" if len(missing) == 1 else f"{len(missing)} submitters have"
        where = "no line" if len({one.device_name for one in fastest}) == 1 else "no line on some device"
        screen.say(f"{who} {where} here; --per-submitter 1 shows everybody's fastest kernel")


def _submitter(standing: Standing) -> str:
    return standing.caller or figures.submitter(standing.submitter_uid)


def _doubts(standing: Standing) -> str:
    times = standing.failed_runs
    failed = [f"failed {times} times" if times > 1 else "failed once"] if times else []
    return ", ".join([*failed, *(label for label in standing.labels if label not in _NO_DOUBT)])


def _ranking(standings: list[Standing], *, with_submitter: bool) -> None:
    """The table of one device, whose name stands above. It fits into 80 columns."""
    drawn = screen.on_terminal()
    with_runs = any(one.runs > 1 for one in standings)
    with_doubts = any(map(_doubts, standings))
    columns = (
        Column("", right=True),
        Column("NAME", shortened=True),
        *((Column("SUBMITTER", right=True),) if with_submitter else ()),
        Column("TIME", right=True),
        *((Column("", drawn=True),) if drawn else ()),
        Column("SPEEDUP", right=True),
        Column("COMPARED"),
        *((Column("RUNS", right=True),) if with_runs else ()),
        *((Column("DOUBTS", flexible=True),) if with_doubts else ()),
        Column("JOB"),
        Column("ENDED"),
    )
    slowest = max(one.runtime_ms for one in standings) or 1.0
    screen.table(
        columns,
        [
            (
                str(one.rank),
                one.name,
                *((_submitter(one),) if with_submitter else ()),
                figures.milliseconds(one.runtime_ms),
                *((figures.bar(one.runtime_ms / slowest),) if drawn else ()),
                figures.ratio(one.speedup),
                (one.comparison or "-").replace("_", " "),
                *((str(one.runs),) if with_runs else ()),
                *((_doubts(one),) if with_doubts else ()),
                figures.short(one.job_id),
                figures.ago(one.finished_at),
            )
            for one in standings
        ],
    )
    _say_what_was_compared_with([one.ref_runtime_ms for one in standings if one.ref_runtime_ms is not None])


def _say_what_was_compared_with(references_ms: list[float]) -> None:
    """Whoever sends a contract names its problem. References that take very different times are not of one task."""
    shortest, longest = min(references_ms, default=0.0), max(references_ms, default=0.0)
    if longest > _REFERENCES_APART * shortest:
        span = f"{figures.milliseconds(shortest)} to {figures.milliseconds(longest)}"
        screen.say(f"their references took {span}: perhaps not all of them had the same to do")
