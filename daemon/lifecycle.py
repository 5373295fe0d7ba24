"""The states of a job and the moves between them. The disk says who holds a bundle; this says what happened to the job.

```
queued -> claimed -> running -> finished          finished and broken rows never change
   ^         |          |
   +---------+-- retry -+--> broken               after a harness fault, counted, capped
   +- defer -+                                    no device of this daemon can serve it: another may, not counted
   +----------------------> broken                `max_attempts` was lowered and no attempt is left
   |         |
 withdrawn <-+  the daemon was stopped and the bundle went back to the inbox; claiming it again revives the job
```
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """How far a job is. CLAIMED: leased, being copied and read; RUNNING: at the judge."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    FINISHED = "finished"
    BROKEN = "broken"
    WITHDRAWN = "withdrawn"

    @property
    def final(self) -> bool:
        """True for a state that never changes again."""
        return self in (JobState.FINISHED, JobState.BROKEN)


UNFINISHED = (JobState.QUEUED, JobState.CLAIMED, JobState.RUNNING)  # the bundle is with a daemon, and has no result

MOVES: frozenset[tuple[JobState, JobState]] = frozenset(
    {
        (JobState.QUEUED, JobState.CLAIMED),
        (JobState.QUEUED, JobState.WITHDRAWN),
        (JobState.QUEUED, JobState.BROKEN),
        (JobState.CLAIMED, JobState.RUNNING),
        (JobState.CLAIMED, JobState.QUEUED),
        (JobState.CLAIMED, JobState.FINISHED),  # rejected before it ran
        (JobState.CLAIMED, JobState.WITHDRAWN),
        (JobState.CLAIMED, JobState.BROKEN),
        (JobState.RUNNING, JobState.FINISHED),
        (JobState.RUNNING, JobState.QUEUED),
        (JobState.RUNNING, JobState.WITHDRAWN),
        (JobState.RUNNING, JobState.BROKEN),
        (JobState.WITHDRAWN, JobState.QUEUED),
    }
)


def may_move(old: JobState, new: JobState) -> bool:
    """Whether a job may go from `old` to `new`."""
    return (old, new) in MOVES
