"""`evald stats`: figures over finished jobs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from daemon import callers, durations
from daemon.cli import figures, outcome, screen
from daemon.cli.commands_to_type import here
from daemon.cli.complete import words
from daemon.cli.options import json_option, settings_options
from daemon.cli.records import as_document
from daemon.cli.screen import Column
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.callers import Callers
    from daemon.db.connection import Database
    from daemon.db.history import History
    from daemon.db.statistics_records import Standing, StatsRow
    from daemon.layers import LoadedSettings

_BAR = 16
_MANY = ("name", "problem")
_STANDINGS_READ = 1000
# References of one task scatter as machines do; from here on they are called different.
_REFERENCES_APART = 3
# Labels that say how a figure came about or that it may be too long, and nothing against a kernel that is fast.
_NO_DOUBT = frozenset(
    {"copy_included", "copy_subtracted", "launch_bound", "power_capped", "throttled", "shared_device"}
)


@click.command("stats")
@settings_options()
@click.option("--since", metavar="WHEN", help="Only jobs that ended since: 12h, 7d, or a date.")
@click.option(
    "--by",
    default="verdict",
    metavar="WHAT",
    show_default=True,
    shell_complete=words("verdict", "problem", "name", "kernel_type", "day", "submitter", "device", "label:"),
    help="verdict, problem, name, kernel_type, day, submitter, device, or label:KEY.",
)
@click.option("--problem", metavar="NAME", help="The fastest passed kernels of this problem instead.")
@click.option("--device", metavar="NAME", help="With --problem: only on this device, by its full name.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Show so many lines; with --problem, of each device.",
)
@click.option(
    "--per-submitter",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --problem: at most N kernels of each submitter on each device.",
)
@json_option
def command(
    *,
    loaded: LoadedSettings,
    since: str | None,
    by: str,
    problem: str | None,
    device: str | None,
    limit: int,
    per_submitter: int | None,
    as_json: bool,
) -> int:
    """Count and summarise finished jobs in groups; or, with --problem, rank the kernels of one problem.

    BEST and MEDIAN are runtimes of passed jobs, whatever they ran on, SPEEDUP is their best one, JUDGED IN the mean
    of what judging took, QUEUED the median of the waits before it.

    With --problem, COMPARED says whether a kernel's speedup over its reference can be told from noise. Of a bundle that
    was judged more than once the run in the middle counts; RUNS says of how many. DOUBTS are the labels that say
    something against its answers or its time. Kernels whose answers were compared with nothing come last. A name costs
    nothing, and each has a line of its own: --per-submitter 1 shows everybody's fastest kernel.
    """
    from daemon.cli import store

    _refuse_what_has_no_meaning(since, problem, device=device, per_submitter=per_submitter)
    moment = durations.parse_since(since, "--since") if since else None
    with store.database_if_any(loaded.settings) as database:
        if problem is not None:
            board = _Board(problem, device, callers.known(loaded.settings))
            standings = board.standings(database, limit if as_json else limit + 1, per_submitter)
            if as_json:
                screen.document({"problem": problem, "leaderboard": [as_document(one) for one in standings]})
            elif standings:
                _leaderboard(standings, limit)
                if any(one.rank > limit for one in standings) and per_submitter is None:
                    _say_who_has_no_line(standings, limit, board.standings(database, limit, 1))
            else:
                screen.say(f"no kernel has passed problem {problem!r} yet; {_other_problems(database, problem)}")
            return 0
        # Where there may be very many groups, one more than is shown tells that there are more.
        several = limit + 1 if by in _MANY and not as_json else None
        rows = _rows(database, moment, by, limit=several, senders=callers.known(loaded.settings))
    if as_json:
        found = [as_document(row) for row in rows]
        screen.document({"by": by, "since": moment.isoformat() if moment else None, "groups": found})
    else:
        _table(rows, by, limit, is_since=moment is not None)
    return 0


@dataclass(frozen=True)
class _Board:
    """Which kernels are ranked, and who of their senders came over HTTP. `device_name` None: on every device."""

    problem: str
    device_name: str | None
    senders: Callers

    def standings(self, database: Database | None, limit: int, per_submitter: int | None) -> tuple[Standing, ...]:
        """Raises `OperatorError` for a device that nobody has passed it on."""
        from daemon.db.history import History

        if database is None:
            return ()
        found = History(database).leaderboard(
            self.problem,
            device_name=self.device_name,
            limit=limit,
            per_submitter=per_submitter,
            callers=self.senders,
        )
        if self.device_name is not None and not found:
            _require_known_device(History(database), self.problem, self.device_name)
        return found


def _refuse_what_has_no_meaning(
    since: str | None, problem: str | None, *, device: str | None, per_submitter: int | None
) -> None:
    """Raises `OperatorError` for options that would change nothing."""
    if problem is None and device is not None:
        raise OperatorError(
            "--device belongs to --problem", hint=f'type: evald stats --problem NAME --device "{device}"'
        )
    if problem is None and per_submitter is not None:
        raise OperatorError(
            "--per-submitter belongs to --problem",
            hint=f"type: evald stats --problem NAME --per-submitter {per_submitter}",
        )
    if problem is None:
        return
    ranking = f'type: evald stats --problem "{problem}"'
    if since is not None:
        raise OperatorError(
            "--problem ranks the kernels of all time; --since does not go with it",
            hint=f"{ranking}, or: evald stats --since {since} --by problem",
        )
    if click.get_current_context().get_parameter_source("by") is not ParameterSource.DEFAULT:
        raise OperatorError(
            "--problem ranks kernels, which --by does not go with", hint=f"leave one of them out; {ranking}"
        )


def _require_known_device(history: History, problem: str, device: str) -> None:
    """Raises `OperatorError` with the devices of the fastest kernels when nobody passed `problem` on `device`."""
    names = {one.device_name for one in history.leaderboard(problem, limit=_STANDINGS_READ)} - {None}
    if names:
        quoted = ", ".join(f'"{name}"' for name in sorted(map(str, names)))
        raise OperatorError(
            f"no kernel has passed problem {problem!r} on a device called {device!r}",
            hint=f"write the whole name; the fastest ran on: {quoted}",
        )


def _rows(
    database: Database | None, since: datetime | None, by: str, *, limit: int | None, senders: Callers = callers.NOBODY
) -> tuple[StatsRow, ...]:
    from daemon.db.history import History
    from daemon.db.label_statistics import stats_by_label

    kind, is_label, key = by.partition(":")
    if kind != "label":
        _require_known_grouping(by)
    elif not is_label or not key:
        raise OperatorError("--by label needs the label's key", hint="write --by label:KEY, such as label:author")
    if database is None:
        return ()
    if kind == "label":
        return stats_by_label(database, key, since)
    return History(database).stats(since, by, limit=limit, callers=senders)


def _require_known_grouping(by: str) -> None:
    from daemon.db.statistics import group_by

    try:
        group_by(by)
    except OperatorError as error:
        raise OperatorError(error.message, hint=f"{error.hint} (label:KEY groups by a label)") from error


def _table(rows: tuple[StatsRow, ...], by: str, limit: int, *, is_since: bool) -> None:
    if not rows:
        screen.say(f"no job has ended {'in that time' if is_since else 'yet'}")
        return
    drawn = screen.on_terminal()
    most = max(row.count for row in rows)
    columns = (
        Column(_title(by), shortened=True),
        Column("JOBS", right=True),
        *((Column("", drawn=True),) if drawn else ()),
        Column("PASSED", right=True),
        Column("BEST", right=True),
        Column("MEDIAN", right=True),
        Column("SPEEDUP", right=True),
        Column("JUDGED IN", right=True),
        Column("QUEUED", right=True),
    )
    screen.table(
        columns,
        [
            (
                outcome.coloured(row.key) if by == "verdict" else row.key or "(none)",
                str(row.count),
                *((figures.bar(row.count / most, _BAR),) if drawn else ()),
                figures.percent(row.pass_share),
                figures.milliseconds(row.best_runtime_ms),
                figures.milliseconds(row.median_runtime_ms),
                figures.ratio(row.best_speedup),
                figures.milliseconds(row.mean_evaluate_ms),
                figures.milliseconds(row.median_queue_ms),
            )
            for row in rows[:limit]
        ],
    )
    if len(rows) > limit:
        _say_there_are_more(limit)
    if drawn and by == "day" and len(rows) > 1:
        screen.line()
        screen.line(f"{rows[-1].key}  {figures.sparkline([float(row.count) for row in reversed(rows)])}  {rows[0].key}")


def _title(by: str) -> str:
    """A label's key as it is written: in capitals it is another one."""
    kind, is_label, key = by.partition(":")
    return f"{kind.upper()}{is_label}{key}"


def _say_there_are_more(limit: int) -> None:
    screen.say(f"there are more; --limit {limit * 10} shows more of them")


def _other_problems(database: Database | None, problem: str) -> str:
    """What to type: the problems most like this one, which was perhaps misspelt."""
    known = {row.key for row in _rows(database, None, "problem", limit=_STANDINGS_READ) if row.key}
    near = [] if problem in known else difflib.get_close_matches(problem, known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    return f"{meant}{here('evald stats')} --by problem lists the problems"


def _leaderboard(standings: tuple[Standing, ...], limit: int) -> None:
    """`standings`: of each device up to one more than is shown, which tells that there are more."""
    boards = [list(board) for _, board in groupby(standings, key=lambda one: one.device_name)]
    is_of_several = len(set(map(_submitter, standings))) > 1
    for number, board in enumerate(boards):
        screen.heading(board[0].device_name or "unknown device", is_first=number == 0)
        _ranking([one for one in board if one.rank <= limit], with_submitter=is_of_several)
    if any(one.rank > limit for one in standings):
        _say_there_are_more(limit)


def _say_who_has_no_line(standings: tuple[Standing, ...], limit: int, fastest: tuple[Standing, ...]) -> None:
    """Others may have taken all the room by names alone. `fastest`: of each submitter on each device."""
    shown = {(one.device_name, _submitter(one)) for one in standings if one.rank <= limit}
    missing = {_submitter(one) for one in fastest if (one.device_name, _submitter(one)) not in shown}
    if missing:
        who = "1 submitter has" if len(missing) == 1 else f"{len(missing)} submitters have"
        where = "no line" if len({one.device_name for one in fastest}) == 1 else "no line on some device"
        screen.say(f"{who} {where} here; --per-submitter 1 shows everybody's fastest kernel")


def _submitter(standing: Standing) -> str:
    return standing.caller or figures.submitter(standing.submitter_uid)


def _doubts(standing: Standing) -> str:
    return ", ".join(label for label in standing.labels if label not in _NO_DOUBT)


def _ranking(standings: list[Standing], *, with_submitter: bool) -> None:
    """Of one device, which stands above: others' times mean nothing beside its own. Fits 80 places."""
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
                *((figures.bar(one.runtime_ms / slowest, _BAR),) if drawn else ()),
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
    """A `problem` is its sender's word; one reference that takes much longer than another is not the same task."""
    shortest, longest = min(references_ms, default=0.0), max(references_ms, default=0.0)
    if longest > _REFERENCES_APART * shortest:
        span = f"{figures.milliseconds(shortest)} to {figures.milliseconds(longest)}"
        screen.say(f"their references took {span}: perhaps not all of them had the same to do")
