"""`evald stats`: figures over finished jobs."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from daemon import callers, durations
from daemon.cli import figures, leaderboard, outcome, screen
from daemon.cli.commands_to_type import here
from daemon.cli.complete import words
from daemon.cli.leaderboard import Board
from daemon.cli.options import json_option, settings_options
from daemon.cli.records import as_document
from daemon.cli.screen import Column
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.callers import Callers
    from daemon.db.connection import Database
    from daemon.db.statistics_records import StatsRow
    from daemon.layers import LoadedSettings

_MANY = ("name", "problem")
_PROBLEMS_READ = 1000


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

    BEST and MEDIAN are runtimes of passed jobs, whatever they ran on, and SPEEDUP is the best of theirs. JUDGED IN is
    the mean time that judging took, QUEUED the median wait before it.

    With --problem, COMPARED says whether a kernel's speedup over its reference can be told from noise. Of a bundle that
    passed more than once the run in the middle counts; RUNS says of how many. DOUBTS are the labels that say something
    against its answers or its time, and how often the very same bundle was judged and failed. Kernels whose answers
    were compared with nothing come last. Each name has a line of its own, and names cost nothing: --per-submitter 1
    shows everybody's fastest kernel.
    """
    from daemon.cli import store

    _refuse_what_has_no_meaning(since, problem, device=device, per_submitter=per_submitter)
    moment = durations.parse_since(since, "--since") if since else None
    with store.database_if_any(loaded.settings) as database:
        senders = callers.known(loaded.settings)
        if problem is not None:
            _rank(Board(database, problem, device, senders), limit, per_submitter, as_json=as_json)
            return 0
        # Where there may be very many groups, one more than is shown is read: then there are more.
        several = limit + 1 if by in _MANY and not as_json else None
        rows = _rows(database, moment, by, limit=several, senders=senders)
    if as_json:
        found = [as_document(row) for row in rows]
        screen.document({"by": by, "since": moment.isoformat() if moment else None, "groups": found})
    else:
        _table(rows, by, limit, is_since=moment is not None)
    return 0


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


def _rank(board: Board, limit: int, per_submitter: int | None, *, as_json: bool) -> None:
    standings = board.standings(limit if as_json else limit + 1, per_submitter)
    if as_json:
        found = [as_document(one) for one in standings]
        screen.document({"problem": board.problem, "leaderboard": found})
    elif standings:
        leaderboard.show(board, standings, limit, per_submitter)
    else:
        other = _other_problems(board.database, board.problem)
        screen.say(f"no kernel has passed problem {board.problem!r} yet; {other}")


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
                *((figures.bar(row.count / most),) if drawn else ()),
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
        screen.say_there_are_more(limit)
    if drawn and by == "day" and len(rows) > 1:
        screen.line()
        screen.line(f"{rows[-1].key}  {figures.sparkline([float(row.count) for row in reversed(rows)])}  {rows[0].key}")


def _title(by: str) -> str:
    """A label's key as it is written: in capitals it is another one."""
    kind, is_label, key = by.partition(":")
    return f"{kind.upper()}{is_label}{key}"


def _other_problems(database: Database | None, problem: str) -> str:
    """What to type: the problems most like this one, which was perhaps misspelt."""
    known = {row.key for row in _rows(database, None, "problem", limit=_PROBLEMS_READ) if row.key}
    near = [] if problem in known else difflib.get_close_matches(problem, known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    return f"{meant}{here('evald stats')} --by problem lists the problems"
