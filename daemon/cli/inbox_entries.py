"""What waits in the inbox, as `evald status` and `evald show` tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.cli import figures, screen
from daemon.cli.screen import Column

if TYPE_CHECKING:
    from daemon.intake.waiting import Inbox


def table(inbox: Inbox, refused: dict[str, str], *, is_first: bool = False) -> None:
    """A row per entry. `refused`: why entries went back there, by their names (`deferred.in_inbox`). `is_first`:
    nothing is shown above."""
    columns = (Column("NAME", shortened=True), Column("SINCE"), Column("WHY", flexible=True))
    screen.titled_table(
        "waiting in the inbox",
        columns,
        [
            (
                entry.name,
                figures.ago(entry.since),
                entry.reason or refused.get(entry.entry, "complete, waits to be taken"),
            )
            for entry in inbox.entries
        ],
        is_first=is_first,
    )
    if inbox.total > len(inbox.entries):
        screen.line(f"and {inbox.total - len(inbox.entries)} more")


def document(inbox: Inbox, refused: dict[str, str]) -> dict[str, Any]:
    """The same for --json."""
    entries = [
        {"name": entry.name, "entry": entry.entry, "job_id": entry.job_id, "since": entry.since.isoformat(),
         "complete": entry.is_complete, "reason": entry.reason or refused.get(entry.entry)}
        for entry in inbox.entries
    ]  # fmt: skip
    return {"waiting": inbox.total, "ignored": inbox.ignored, "entries": entries}
