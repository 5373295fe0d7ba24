"""A database whose file is damaged while daemons use it: they end, and say why; nothing is lost."""

from __future__ import annotations

from damaged_pages import damage
from service_rehearsal import Daemon, Place
from waiting import wait_for


def begun_again_damaged(here: Place, name: str, command: str = "run", *waiting: str) -> Daemon:
    """A daemon at a home with a result, whose database has been damaged there since; `waiting` in the inbox."""
    first = here.start()
    here.drop("before")
    wait_for(lambda: here.has_results("before"), "the first result")
    assert first.stop() == 0
    damage(here.home / "state" / "evald.sqlite3", name)
    here.drop(*waiting)
    return here.start(command)


def test_a_daemon_that_meets_a_damaged_page_when_it_starts_ends_for_good(here: Place) -> None:
    second = begun_again_damaged(here, "property")
    wait_for(lambda: not second.is_alive, "the daemon to end")
    assert second.process.returncode == 2
    assert "restore a backup" in second.story


def test_a_daemon_ends_when_a_page_of_its_database_is_damaged(here: Place) -> None:
    second = begun_again_damaged(here, "ix_job_state")
    here.drop("meanwhile")
    wait_for(lambda: not second.is_alive, "the daemon to end")
    assert second.process.returncode == 2
    assert "malformed" in second.story
    assert "restore a backup" in second.story
    assert "storage is back" not in second.story
    left = [entry.name for shelf in ("inbox", "work") for entry in (here.home / shelf).iterdir()]
    assert [name.partition("@")[0] for name in left] == ["meanwhile.json"]


def test_a_sweep_ends_when_a_page_of_its_database_is_damaged_and_is_not_to_be_tried_again(here: Place) -> None:
    sweep = begun_again_damaged(here, "ix_job_state", "sweep", "meanwhile")
    assert sweep.process.wait(300) == 2
    assert "restore a backup" in sweep.story
    left = [entry.name for shelf in ("inbox", "work") for entry in (here.home / shelf).iterdir()]
    assert [name.partition("@")[0] for name in left] == ["meanwhile.json"]
