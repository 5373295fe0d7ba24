"""Which run of a bundle counts where kernels are ranked by time.

Every run scatters. If the fastest run counted, whoever had the same bundle judged a hundred times would be ranked by
the luckiest one. So the run in the middle counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, literal

from daemon.callers import TAG_DIGITS
from daemon.db.models import HEX_ID, Bundle, Environment, Job, had_no_reference
from daemon.verdict import Verdict

# How a run ends that tells against its kernel. A compiler that is missing tells nothing.
FAILED = (
    Verdict.WRONG_ANSWER,
    Verdict.RUNTIME_ERROR,
    Verdict.TIMEOUT,
    Verdict.OUT_OF_MEMORY,
    Verdict.INTEGRITY_VIOLATION,
)

# The order of kernels: those that were compared with nothing last, then by time.
BY_TIME = (had_no_reference(), Job.runtime_ms.is_(None), Job.runtime_ms, Job.finished_at, Job.id)

# Over rows of jobs with their bundle and environment. Equal bytes are the same bundle; where nobody has read a
# contract, each run stands for itself.
_SAME_BUNDLE = (
    Environment.device_name,
    Job.name,
    Job.submitter_uid,
    had_no_reference(),
    Bundle.source_sha256,
    func.coalesce(Bundle.contract_sha256, Job.id),
)


def caller(tags: Collection[str], server_uid: int | None) -> ColumnElement[str]:
    """The tag of who sent a row's job over HTTP, where all are one user to the file system; else empty. `tags`: of all
    callers. `server_uid`: that user's."""
    if not tags:
        return literal("")
    tag = func.substr(Job.id, HEX_ID - TAG_DIGITS + 1)
    return case(((Job.submitter_uid == server_uid) & tag.in_(tags), tag), else_="")


def runs(within: Sequence[SQLColumnExpression[Any]]) -> ColumnElement[int]:
    """How many runs there are of a row's bundle. `within`: what else must be equal."""
    return func.count().over(partition_by=(*_SAME_BUNDLE, *within))


def is_in_the_middle(within: Sequence[SQLColumnExpression[Any]]) -> ColumnElement[bool]:
    """Whether a row is the run in the middle of its bundle; of two in the middle, the faster one. `within` as for
    `runs`."""
    place = func.row_number().over(partition_by=(*_SAME_BUNDLE, *within), order_by=BY_TIME)
    return place == (runs(within) + 1) // 2
