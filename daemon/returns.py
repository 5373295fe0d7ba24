"""Claimed bundles go back to the inbox: when their daemon ends, and when its host is drained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from daemon import log
from daemon.claims import is_its_own
from daemon.db.history import History
from daemon.db.records import Whereabouts
from daemon.errors import HarnessError, LostClaim
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk
from daemon.lifecycle import JobState

_PATIENCE_S = 5.0
_PAUSE_S = 0.5


class Returns:
    """Gives back the bundles of one daemon. `working` is told what is being done, because it may take minutes."""

    def __init__(self, spool: Spool, history: History, clerk: Clerk, working: Callable[[str], None]) -> None:
        self._spool = spool
        self._history = history
        self._clerk = clerk
        self._working = working

    def of_what_waits(self, meanwhile: Callable[[], None]) -> None:
        """Give back every bundle that this daemon claimed and whose job waits. `meanwhile` is called before each,
        because there may be many, and running jobs go on."""
        for claimed in self._held_while(self._waits_here):
            meanwhile()
            self._give_back(claimed)

    def of_all(self) -> None:
        """Give back every bundle that this daemon claimed, or took over from a dead one, unless its job is finished or
        leased by another daemon.

        A database that is being restarted is asked again for a few seconds. What stays behind costs the jobs that were
        being judged an attempt.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        while (error := self._of_all()) is not None:
            if time.monotonic() > deadline_s:
                log.story("could not give bundles back; the next start will", level=30, reason=error)
                return
            time.sleep(_PAUSE_S)

    def _of_all(self) -> Exception | None:
        """What kept some from going back."""
        try:
            for claimed in self._held_while(self._is_ours):
                self._give_back(claimed)
        except (HarnessError, OSError) as error:
            return error
        return None

    def _give_back(self, claimed: Claimed) -> None:
        """A deferred bundle keeps its job id in its name: whoever looks into the inbox can then tell why it waits."""
        with suppress(LostClaim):  # somebody has moved it away
            self._clerk.give_back(claimed, keep_id=bool(self._history.deferrals_of([claimed.job_id])))

    def _held_while(self, holds: Callable[[Claimed, Whereabouts | None], bool]) -> Iterator[Claimed]:
        """The claimed bundles for which that holds. One query asks for all, because there may be a hundred thousand.
        Each is asked about again when its turn comes, which may be minutes later."""
        held = list(self._spool.held())
        known = self._history.whereabouts({claimed.job_id for claimed in held})
        for claimed in held:
            job_id = claimed.job_id
            if holds(claimed, known.get(job_id)) and holds(claimed, self._history.where_is(job_id)):
                self._working(f"giving {claimed.name} back")
                yield claimed

    def _waits_here(self, claimed: Claimed, job: Whereabouts | None) -> bool:
        return (
            claimed.owner == self._spool.owner
            and job is not None
            and job.state is JobState.QUEUED
            and is_its_own(claimed, job.work_name)
        )

    def _is_ours(self, claimed: Claimed, job: Whereabouts | None) -> bool:
        if job is not None and not is_its_own(claimed, job.work_name):
            return False
        leased_by = job.lease_owner if job is not None else None
        return leased_by == self._spool.owner.tag or (claimed.owner == self._spool.owner and leased_by is None)
