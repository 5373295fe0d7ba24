"""Who may still be at work with a job or a bundle: asked before a repair touches what is not this daemon's own.

A process of this host can be looked at. Of one elsewhere there is only what it has told the database: its leases, and
its sign of life. In doubt it may be at work.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from daemon.db.daemon_records import DaemonState
from daemon.db.history import History
from daemon.db.records import AttemptOutcome, JobRecord
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed
from daemon.lifecycle import JobState

_REGISTERED_WITHIN = timedelta(minutes=2)


class Holders:
    """Who holds what, as the daemon `here` sees it."""

    def __init__(self, here: Owner, history: History) -> None:
        self._here = here
        self._history = history

    def publishes_elsewhere(self, job: JobRecord) -> bool:
        """Whether a living daemon may be publishing this job right now: then its staged result is not ours to touch."""
        held = job.state in (JobState.CLAIMED, JobState.RUNNING) and job.lease_owner is not None
        return held and job.lease_owner != self._here.tag and self._lives(str(job.lease_owner))

    def is_left_to_others(self, job: JobRecord) -> bool:
        """Whether the complete result of such a job is left to a living daemon. Not if its lease is over: that daemon
        has not reached the database for so long, and soon the job would be judged again. If two daemons record the
        result, one wins."""
        is_over = job.lease_left_s is not None and job.lease_left_s < 0
        return not is_over and self.publishes_elsewhere(job)

    def is_ours(self, claimed: Claimed) -> bool:
        """Whether nobody but this daemon will queue it any more, or give it back."""
        return claimed.owner == self._here or not self._may_yet_register(claimed.owner)

    def may_be_given_back(self, job: JobRecord) -> bool:
        """Whether a living daemon that took and then withdrew this job may be about to move its bundle into the inbox.
        Then, whoever has claimed the bundle, queueing it now could have it judged both here and there."""
        for attempt in self._history.attempts(job.job_id)[-1:]:
            is_withdrawn = attempt.outcome is AttemptOutcome.WITHDRAWN and attempt.owner != self._here.tag
            if is_withdrawn and attempt.ended_at is not None and job.read_at - attempt.ended_at < _REGISTERED_WITHIN:
                return self._may_yet_register(Owner.of(attempt.owner))
        return False

    def is_late(self, claimed: Claimed) -> bool:
        """Whether whoever claimed this has had time enough to queue it, alive or not."""
        return datetime.now(UTC) - claimed.dropped_at > _REGISTERED_WITHIN

    def _lives(self, tag: str) -> bool:
        """Whether the owner of a lease may still be at work. An owner that cannot be looked at may be: its lease
        decides."""
        return tag == self._here.tag or Owner.of(tag).may_live(self._here)

    def _may_yet_register(self, owner: Owner) -> bool:
        """Whether a daemon may still queue what it has claimed. There is no lease yet that would say so. Of a daemon
        that cannot be seen from here, its own word in the database counts, which it gives before it claims anything.
        Queueing twice is harmless."""
        known = [daemon for daemon in self._history.daemons() if daemon.owner == owner.tag]
        told = any(not daemon.is_missing and daemon.state is not DaemonState.STOPPED for daemon in known)
        if not owner.is_seen_from(self._here):
            return told
        # A process that is no daemon may claim too; and a pid may be another process's by now.
        return self._lives(owner.tag) and (told or not known)
