from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from intake_bundles import write_bundle

from daemon import fsio, onemount
from daemon.errors import HarnessError, LostClaim
from daemon.intake import moves
from daemon.intake.names import JOB_ID, Form, form_of, split_job_id
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.paths import Paths

JOB = "0198c0ffee00700080000000000000aa"
OTHER = Owner("other", "ffffffff", 7)


def failing(call: Callable[..., Any], code: int, *, times: int) -> Callable[..., Any]:
    """`call`, which fails so many times before it works."""
    left = [code] * times

    def instead(*given: Any, **named: Any) -> Any:
        if left:
            raise OSError(left.pop(), os.strerror(code))
        return call(*given, **named)

    return instead


def test_a_claim_moves_the_bundle_to_a_unique_name_in_work(spool: Spool, paths: Paths) -> None:
    write_bundle(paths.inbox / "vec_add")
    claimed = spool.claim("vec_add")
    assert not (paths.inbox / "vec_add").exists()
    assert claimed.path == paths.work / f"vec_add@node-1.example-01234567-42-{claimed.job_id}"
    assert (claimed.path / "kernel.py").is_file()
    assert (claimed.name, claimed.own_id, claimed.size_bytes) == ("vec_add", False, None)
    assert claimed.submitter_uid == os.getuid()
    assert claimed.dropped_at.tzinfo is not None
    assert JOB_ID.fullmatch(claimed.job_id)


def test_a_name_that_is_not_there_is_a_lost_claim(spool: Spool) -> None:
    with pytest.raises(LostClaim):
        spool.claim("never")


def test_a_missing_work_folder_is_our_fault_and_leaves_the_bundle_in_the_inbox(spool: Spool, paths: Paths) -> None:
    write_bundle(paths.inbox / "b")
    paths.work.rmdir()
    with pytest.raises(HarnessError, match=r"cannot move .* No such file"):
        spool.claim("b")
    assert (paths.inbox / "b" / "kernel.py").is_file()


def test_the_same_name_dropped_twice_is_two_jobs(spool: Spool, paths: Paths) -> None:
    claims = []
    for text in ("one", "two"):
        (paths.inbox / "k.json").write_text(text)
        claims.append(spool.claim("k.json"))
    assert claims[0].job_id != claims[1].job_id
    assert [claim.path.read_text() for claim in claims] == ["one", "two"]


def test_a_job_id_chosen_by_the_sender_is_kept_and_is_no_part_of_the_name(spool: Spool, paths: Paths) -> None:
    (paths.inbox / f"k.json@{JOB}").write_text("{}")
    claimed = spool.claim(f"k.json@{JOB}")
    assert (claimed.job_id, claimed.name, claimed.own_id) == (JOB, "k.json", True)
    (found,) = spool.held()
    assert (found.job_id, found.name, found.own_id) == (JOB, "k.json", True)


def test_a_senders_job_id_used_twice_loses_neither_bundle(spool: Spool, paths: Paths) -> None:
    claims = []
    for text in ("one", "two"):
        (paths.inbox / f"k.json@{JOB}").write_text(text)
        claims.append(spool.claim(f"k.json@{JOB}"))
    assert claims[0].job_id == JOB
    assert claims[1].job_id != JOB
    assert sorted(path.read_text() for path in paths.work.iterdir()) == ["one", "two"]
    (paths.archive / f"k.json@{JOB}").write_text("an earlier one")
    kept = spool.archive(claims[0])
    assert kept.name == f"k.json.2@{JOB}"
    assert (paths.archive / f"k.json@{JOB}").read_text() == "an earlier one"


def test_a_rename_whose_reply_was_lost_counts_as_won(
    spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    (paths.inbox / "k.json").write_text("{}")

    def renamed_twice(source: Path, target: Path, **_: bool) -> None:
        source.rename(target)
        source.rename(target)

    flushed: set[Path] = set()
    monkeypatch.setattr(fsio, "rename", renamed_twice)
    monkeypatch.setattr(fsio, "fsync_dir", flushed.add)
    assert spool.claim("k.json").path.read_text() == "{}"
    assert flushed == {paths.inbox, paths.work}


def test_what_is_claimed_is_so_after_a_power_cut(spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    (paths.inbox / "k.json").write_text("{}")
    flushed: list[Path] = []
    monkeypatch.setattr(fsio, "fsync_dir", flushed.append)
    spool.claim("k.json")
    assert flushed == [paths.work, paths.inbox]


@pytest.mark.parametrize("name", ["-rf", "a\nb", "ü ✓", "x@y", os.fsdecode(b"\xff\xfe.json"), "n" * 255, "reason.txt"])
def test_odd_names_go_through_every_move(spool: Spool, paths: Paths, name: str) -> None:
    (paths.inbox / name).write_text("{}")
    claimed = spool.claim(name)
    claimed.name.encode("utf-8")
    assert [held.path for held in spool.held()] == [claimed.path]
    back = spool.give_back(claimed)
    assert [entry.name for entry in paths.inbox.iterdir()] == [back]
    folder = spool.reject(spool.claim(back), f"bad {name}")
    kept = [path for path in folder.iterdir() if path.name != "reason.txt"]
    assert [path.read_text() for path in kept] == ["{}"]
    assert (folder / "reason.txt").read_text().startswith("bad ")


@pytest.mark.parametrize("name", ["", ".", "..", "../work", "a/b", "a\0b"])
def test_what_is_no_entry_name_is_refused(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an entry"):
        spool.claim(name)


def test_held_lists_own_and_foreign_bundles_and_skips_the_rest(spool: Spool, paths: Paths) -> None:
    (paths.inbox / "a.json").write_text("a")
    (paths.inbox / "b.json").write_text("b")
    mine, theirs = spool.claim("a.json"), Spool(paths, OTHER).claim("b.json")
    (paths.work / "stray").write_text("")
    (paths.work / f"x@{JOB}").write_text("")
    assert {(held.job_id, held.owner) for held in spool.held()} == {
        (mine.job_id, spool.owner),
        (theirs.job_id, OTHER),
    }


def test_give_back_returns_to_the_dropped_name_when_it_is_free(spool: Spool, paths: Paths) -> None:
    write_bundle(paths.inbox / "vec_add")
    assert spool.give_back(spool.claim("vec_add")) == "vec_add"
    assert (paths.inbox / "vec_add" / "kernel.py").is_file()


def test_give_back_overwrites_nothing_not_even_an_empty_folder(spool: Spool, paths: Paths) -> None:
    write_bundle(paths.inbox / "vec_add")
    claimed = spool.claim("vec_add")
    (paths.inbox / "vec_add").mkdir()
    assert spool.give_back(claimed) == f"vec_add@{claimed.job_id}"
    assert list((paths.inbox / "vec_add").iterdir()) == []
    assert spool.claim(f"vec_add@{claimed.job_id}").job_id == claimed.job_id


def test_give_back_keeps_the_job_id_the_sender_waits_for(spool: Spool, paths: Paths) -> None:
    (paths.inbox / f"k.json@{JOB}").write_text("{}")
    assert spool.give_back(spool.claim(f"k.json@{JOB}")) == f"k.json@{JOB}"


def test_give_back_can_keep_the_job_id_so_that_the_next_claim_goes_on_with_the_job(spool: Spool, paths: Paths) -> None:
    (paths.inbox / "k.json").write_text("{}")
    claimed = spool.claim("k.json")
    back = spool.give_back(claimed, keep_id=True)
    assert back == f"k.json@{claimed.job_id}"
    assert spool.claim(back).job_id == claimed.job_id


def test_where_the_file_system_cannot_promise_it_give_back_uses_the_unique_name(
    spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "unsupported")

    monkeypatch.setattr(fsio, "rename_exclusive", unsupported)
    (paths.inbox / "k.json").write_text("{}")
    claimed = spool.claim("k.json")
    assert spool.give_back(claimed) == f"k.json@{claimed.job_id}"


def test_archiving_and_rejecting_twice_is_the_same_as_once(spool: Spool, paths: Paths) -> None:
    for name in ("a.json", "b.json", "c.json"):
        (paths.inbox / name).write_text(name)
    a, b, c = (spool.claim(name) for name in ("a.json", "b.json", "c.json"))
    assert spool.archive(a) == spool.archive(a) == paths.archive / f"a.json@{a.job_id}"
    assert spool.reject(b, "bad") == spool.reject(b, "bad") == paths.rejected / f"b.json@{b.job_id}"
    assert spool.quarantine(c, "torn") == spool.quarantine(c, "torn") == paths.quarantine / f"c.json@{c.job_id}"
    assert {path.name for path in (paths.rejected / f"b.json@{b.job_id}").iterdir()} == {"b.json", "reason.txt"}
    assert list(paths.work.iterdir()) == []


def test_folders_for_what_has_ended_are_made_anew_where_somebody_removed_them(spool: Spool, paths: Paths) -> None:
    for name in ("a.json", "b.json"):
        (paths.inbox / name).write_text(name)
    a, b = spool.claim("a.json"), spool.claim("b.json")
    paths.archive.rmdir()
    paths.rejected.rmdir()
    assert spool.archive(a).read_text() == "a.json"
    assert (spool.reject(b, "bad") / "b.json").read_text() == "b.json"
    paths.work.rmdir()
    spool.archive(a).unlink()
    paths.archive.rmdir()
    # Where the disk of the spool is gone, nothing is made in its place.
    with pytest.raises(HarnessError, match=r"cannot move .* No such file"):
        spool.archive(a)
    assert not paths.archive.exists()


def test_rejecting_what_somebody_else_took_is_a_lost_claim_and_leaves_no_folder(spool: Spool, paths: Paths) -> None:
    (paths.inbox / "a.json").write_text("a")
    claimed = spool.claim("a.json")
    claimed.path.rename(claimed.path.with_name("taken"))
    with pytest.raises(LostClaim):
        spool.reject(claimed, "bad")
    with pytest.raises(LostClaim):
        spool.archive(claimed)
    assert list(paths.rejected.iterdir()) == []


def test_links_and_special_files_are_moved_as_they_are(spool: Spool, paths: Paths, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    (paths.inbox / "link.json").symlink_to(precious)
    os.mkfifo(paths.inbox / "pipe.json")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(paths.inbox / "sock.json"))
    for name in ("link.json", "pipe.json", "sock.json"):
        folder = spool.reject(spool.claim(name), "not a regular file")
        assert os.path.lexists(folder / name)
    assert precious.read_text() == "keep"
    assert precious.stat().st_nlink == 1


def _claim_everything(home: Path, number: int) -> list[str]:
    paths = Paths(home, home / "inbox", home / "results", home / "state")
    spool, won = Spool(paths, Owner(f"host{number}", "b", number)), []
    for name in sorted(entry.name for entry in paths.inbox.iterdir()):
        try:
            won.append(spool.claim(name).name)
        except LostClaim:
            continue
    return won


def test_of_many_claimers_each_bundle_has_exactly_one_winner(paths: Paths) -> None:
    dropped = [f"k{number:03}.json" for number in range(120)]
    for name in dropped:
        (paths.inbox / name).write_text(name)
    with get_context("spawn").Pool(4) as pool:
        won = pool.starmap(_claim_everything, [(paths.home, number) for number in range(4)])
    assert sorted(name for names in won for name in names) == dropped
    assert len(list(paths.work.iterdir())) == 120


def test_whose_a_bundle_is_says_what_was_taken_and_not_what_lay_there_before(
    spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and the rename somebody may put another entry in its place."""
    (paths.inbox / "a.json").write_text("a")
    move = moves.move

    def exchanged(source: Path, target: Path, **how: bool) -> None:
        source.unlink()
        source.write_text("another, and longer")
        move(source, target, **how)

    monkeypatch.setattr(moves, "move", exchanged)
    claimed = spool.claim("a.json")
    assert claimed.size_bytes == len("another, and longer")


def test_give_back_replaces_nothing_under_a_name_with_a_job_id(spool: Spool, paths: Paths) -> None:
    (paths.inbox / f"k.json@{JOB}").write_text("{}")
    claimed = spool.claim(f"k.json@{JOB}")
    (paths.inbox / f"k.json@{JOB}").write_text("somebody else's")
    back = spool.give_back(claimed)
    assert back != f"k.json@{JOB}"
    assert (paths.inbox / f"k.json@{JOB}").read_text() == "somebody else's"
    assert (paths.inbox / back).read_text() == "{}"
    bare_name, job_id = split_job_id(back)
    assert (form_of(bare_name), job_id) == (Form.JSON, JOB)


@pytest.mark.parametrize("stale", [1, 2])
def test_a_handle_that_is_stale_for_a_moment_is_looked_up_anew(
    spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch, stale: int
) -> None:
    """The kernel does the same for lstat(2), not for fstat(2) of what was just opened."""
    write_bundle(paths.inbox / "b")
    claimed = spool.claim("b")
    monkeypatch.setattr(onemount.os, "fstat", failing(os.fstat, errno.ESTALE, times=stale))
    found = spool.held_as(claimed.path.name, claimed.job_id)
    assert found is not None
    assert found.path == claimed.path


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT], ids=errno.errorcode.get)
def test_a_place_that_cannot_be_looked_at_is_not_taken_for_free(
    spool: Spool, paths: Paths, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A rename there would replace what has it."""
    (paths.inbox / f"b.json@{JOB}").write_text("new", "utf-8")
    claimed = spool.claim(f"b.json@{JOB}")
    earlier = paths.archive / claimed.settled_name
    earlier.write_text("earlier", "utf-8")
    with monkeypatch.context() as server:
        server.setattr(onemount.os, "fstat", failing(os.fstat, code, times=1000))
        with pytest.raises(HarnessError, match="cannot look at"):
            spool.archive(claimed)
    assert earlier.read_text("utf-8") == "earlier"
    spool.archive(claimed)
    assert sorted(place.read_text("utf-8") for place in paths.archive.iterdir()) == ["earlier", "new"]
