"""Bundles that are torn, lie, change, come twice, or are bombs: each waits or is set aside with its reason."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from service_rehearsal import SOURCE, Place
from waiting import wait_for

from daemon.config import Limits
from daemon.errors import BundleError, HarnessError
from daemon.intake import readiness, tree
from daemon.intake.copying import private_copy
from daemon.intake.readiness import EntryState, Readiness

ENTRIES = 100_000
CONTRACT = json.dumps({"kernel": {"kernel_type": "torch", "source_file": "kernel.py"}})


def folder(place: Path, **files: str) -> Path:
    place.mkdir(parents=True)
    for name, text in {"contract__json": CONTRACT, "kernel__py": SOURCE, **files}.items():
        (place / name.replace("__", ".")).write_text(text, "utf-8")
    return place


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def whole() -> dict[str, bytes]:
    return {"contract.json": CONTRACT.encode(), "kernel.py": SOURCE.encode()}


def bomb(path: Path) -> Path:
    """A few megabytes that unpack to 2 GiB of zeros: gzip members may follow each other."""
    header = tarfile.TarInfo("zeros")
    header.size = 2 << 30
    piece = gzip.compress(bytes(64 << 20))
    path.write_bytes(gzip.compress(header.tobuf()) + piece * 32)
    return path


def crowd(path: Path) -> Path:
    """An archive of more members than any bundle may have."""
    piece = b"".join(tarfile.TarInfo(f"f{number}").tobuf() for number in range(ENTRIES // 10))
    path.write_bytes(gzip.compress(piece, 1))
    return path


def lying_zip(path: Path) -> Path:
    """A directory at the end that claims less than the member holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("contract.json", CONTRACT + " " * 100_000)
    content = path.read_bytes()
    size = len(CONTRACT) + 100_000
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path


def test_every_kind_of_bad_bundle_is_set_aside_with_its_reason_and_the_good_ones_are_judged(here: Place) -> None:
    outside, inbox = here.home / "outside", here.home / "inbox"
    daemon = here.start(TORN_AFTER_S="2", QUIET_S="0.5")
    wait_for(lambda: "watching" in daemon.story, "the daemon to watch")
    at_rest = daemon.peak_bytes
    outside.mkdir()
    made = [
        folder(outside / "case-twins", Kernel__py="x = 1\n"),
        folder(outside / "lies-about-its-file", contract__json=CONTRACT.replace("kernel.py", "nowhere.py")),
        tar(outside / "climbs.tar.gz", whole() | {"../../evil.py": b"x"}),
        tar(outside / "absolute.tar.gz", whole() | {"/etc/cron.d/evil": b"x"}),
        bomb(outside / "bomb.tar.gz"),
        crowd(outside / "crowd.tar.gz"),
        lying_zip(outside / "lies.zip"),
    ]
    good = [folder(outside / "Twin"), folder(outside / "twin"), tar(outside / "packed.tar.gz", whole())]
    for entry in (*made, *good):
        entry.rename(inbox / entry.name)
    torn = inbox / "torn"
    torn.mkdir()
    (torn / "kernel.py").write_text(SOURCE)
    names = [entry.name for entry in (*made, *good)] + ["torn"]
    wait_for(lambda: here.has_results(*names), "a result for every one", 150)
    wait_for(lambda: here.faults(*names) == [], "everything put away")
    reasons = {
        path.parent.name.partition("@")[0]: path.read_text("utf-8")
        for shelf in ("rejected", "quarantine")
        for path in (here.home / shelf).glob("*/reason.txt")
    }
    expected = {
        "case-twins": "upper and lower case",
        "lies-about-its-file": "nowhere.py",
        "climbs.tar.gz": "..",
        "absolute.tar.gz": "absolute",
        "bomb.tar.gz": "limits.",
        "crowd.tar.gz": "limits.file_count",
        "lies.zip": "",
        "torn": "contract.json",
    }
    assert set(reasons) == set(expected)
    assert {name: reasons[name] for name, words in expected.items() if words not in reasons[name]} == {}
    assert (here.home / "quarantine").is_dir() and any((here.home / "quarantine").glob("torn@*/torn/kernel.py"))
    archived = {entry.name.partition("@")[0] for entry in (here.home / "archive").iterdir()}
    assert archived == {entry.name for entry in good}
    assert not (here.home / "evil.py").exists() and not Path("/etc/cron.d/evil").exists()
    assert daemon.peak_bytes < at_rest + (200 << 20)
    assert daemon.stop() == 0


def test_the_same_name_dropped_again_while_the_first_is_judged_is_a_second_job(here: Place) -> None:
    daemon = here.start(REHEARSAL_S="1")
    here.drop("again")
    wait_for(lambda: "again" in here.jobs(), "the first to be claimed")
    here.drop("again")
    wait_for(lambda: len(list((here.home / "results").glob("[0-9]*/*/result.json"))) == 2, "two results")
    wait_for(lambda: here.faults("again", "again") == [], "both put away")
    assert daemon.stop() == 0


def test_what_is_rewritten_after_its_rename_is_judged_as_one_copy_of_one_moment(tmp_path: Path) -> None:
    """The sender kept its descriptor: the copy that is judged no longer changes with it."""
    entry = folder(tmp_path / "b")
    with (entry / "kernel.py").open("r+") as sender:
        copied = private_copy(entry, tmp_path / "copy", Limits())
        sender.write("# rewritten in place")
        sender.flush()
        assert (copied.dir / "kernel.py").read_text("utf-8") == SOURCE
        assert (entry / "kernel.py").read_text("utf-8") != SOURCE


@pytest.mark.parametrize("entries", [30_000, pytest.param(ENTRIES, marks=pytest.mark.thorough)])
def test_a_folder_of_very_many_entries_is_refused_in_flat_memory(tmp_path: Path, entries: int) -> None:
    entry = folder(tmp_path / "b")
    for number in range(entries):
        source = entry / f"{number - number % 50_000}.py"  # ext4 has at most 65,000 names for one file
        os.link(source, entry / f"{number}.py") if number % 50_000 else source.write_text(SOURCE)
    tracemalloc.start()
    try:
        tree.look_at(entry, entry.stat().st_mode)
        with pytest.raises(BundleError, match=r"limits\.file_count"):
            private_copy(entry, tmp_path / "copy", Limits())
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
        for number in range(entries):
            (entry / f"{number}.py").unlink()
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ENOENT, errno.ETIMEDOUT], ids=errno.errorcode.get)
def test_an_inbox_whose_server_fails_is_our_fault_and_nothing_is_forgotten_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder(tmp_path / "inbox" / "b")
    look = Readiness(tmp_path / "inbox", quiet_s=10, torn_after_s=100, stable_s=1)
    assert [seen.state for seen in look.look((), 100.0)] == [EntryState.WAITING]

    def failing(_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as server:
        server.setattr(readiness.os, "scandir", failing)
        with pytest.raises(HarnessError, match=re.escape(os.strerror(code))):
            look.look((), 100.5)
    assert [seen.state for seen in look.look((), 101.0)] == [EntryState.READY]
