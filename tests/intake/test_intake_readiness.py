from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from intake_bundles import CONTRACT, SOURCE, bundle_members, write_bundle, write_tar, write_zip

from daemon.config import Limits
from daemon.errors import HarnessError
from daemon.intake import readiness, tree
from daemon.intake.copying import private_copy
from daemon.intake.readiness import EntryState, Readiness, Seen

QUIET_S, TORN_S, STABLE_S = 10.0, 100.0, 1.0


class Looker:
    """Drives a `Readiness` with a clock of its own."""

    def __init__(self, inbox: Path, **options: int) -> None:
        self.readiness = Readiness(inbox, quiet_s=QUIET_S, torn_after_s=TORN_S, stable_s=STABLE_S, **options)
        self.now_s = 1000.0

    def after(self, seconds: float, *moved_in: str) -> dict[str, Seen]:
        self.now_s += seconds
        return {seen.name: seen for seen in self.readiness.look(frozenset(moved_in), self.now_s)}

    def state_after(self, seconds: float, *moved_in: str) -> EntryState:
        (seen,) = self.after(seconds, *moved_in).values()
        return seen.state


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def looker(inbox: Path) -> Looker:
    return Looker(inbox)


def test_what_was_moved_in_is_ready_at_once(inbox: Path, looker: Looker) -> None:
    (inbox / "anything").mkdir()
    assert looker.state_after(0, "anything", "long gone") is EntryState.READY
    assert looker.state_after(TORN_S * 2) is EntryState.READY


def test_a_whole_folder_is_ready_after_two_equal_looks_and_not_after_one(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    assert looker.state_after(0) is EntryState.WAITING
    assert looker.state_after(STABLE_S / 2) is EntryState.WAITING
    assert looker.state_after(STABLE_S / 2) is EntryState.READY


def test_two_looks_in_quick_succession_prove_nothing(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    assert {looker.state_after(0.001) for _ in range(50)} == {EntryState.WAITING}


def test_a_source_that_is_still_growing_is_waited_for(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    for number in range(30):
        with (inbox / "b" / "kernel.py").open("a") as stream:
            stream.write(f"# {number}\n")
        assert looker.state_after(STABLE_S) is EntryState.WAITING
    assert looker.state_after(STABLE_S) is EntryState.READY


def test_a_named_file_that_is_missing_or_empty_is_waited_for_until_all_is_quiet(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    (inbox / "b" / "kernel.py").write_text("")
    for _ in range(9):
        seen = looker.after(STABLE_S)["b"]
        assert (seen.state, seen.reason) == (EntryState.WAITING, "kernel.py is not there yet")
    (inbox / "b" / "kernel.py").unlink()
    assert looker.state_after(STABLE_S) is EntryState.WAITING
    assert looker.state_after(QUIET_S) is EntryState.READY


def test_source_files_named_anywhere_in_the_contract_are_waited_for(inbox: Path, looker: Looker) -> None:
    (inbox / "b" / "src").mkdir(parents=True)
    sides = {"ref_kernel": {"source_file": "ref.py"}, "custom_kernel": {"source_file": "./src/own.py"}}
    (inbox / "b" / "contract.json").write_text(json.dumps([{"deep": [sides]}, {"source_file": "/etc/passwd"}]))
    (inbox / "b" / "ref.py").write_text("x")
    looker.after(0)
    assert looker.after(STABLE_S)["b"].reason == "src/own.py is not there yet"
    (inbox / "b" / "src" / "own.py").write_text("x")
    looker.after(STABLE_S)
    assert looker.state_after(STABLE_S) is EntryState.READY


def test_a_whole_bundle_is_taken_although_something_beside_it_keeps_changing(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    states = []
    for number in range(12):
        (inbox / "b" / "log").write_text("x" * number)
        states.append(looker.state_after(STABLE_S))
    assert states[:10] == [EntryState.WAITING] * 10
    assert states[-1] is EntryState.READY


def test_a_folder_without_contract_waits_with_its_reason_and_is_torn_in_the_end(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    (inbox / "b" / "kernel.py").write_text("x")
    for _ in range(9):
        seen = looker.after(QUIET_S)["b"]
        assert (seen.state, seen.reason) == (EntryState.WAITING, "waits for its contract.json")
    looker.after(QUIET_S)
    seen = looker.after(QUIET_S)["b"]
    assert seen.state is EntryState.TORN
    assert "waits for its contract.json, unchanged for" in seen.reason
    write_bundle(inbox / "b")
    assert looker.state_after(QUIET_S) is EntryState.WAITING
    assert looker.state_after(QUIET_S) is EntryState.READY


def test_a_slow_upload_that_still_moves_is_never_torn(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    for number in range(30):
        (inbox / "b" / f"part{number}").write_text("x")
        assert looker.state_after(TORN_S / 2) is EntryState.WAITING


@pytest.mark.parametrize("name", ["Contract.json", "contract.jsn", "inner/contract.json"])
def test_a_misplaced_contract_is_taken_once_quiet_so_the_sender_hears_of_it(
    inbox: Path, looker: Looker, name: str
) -> None:
    (inbox / "b" / name).parent.mkdir(parents=True)
    (inbox / "b" / name).write_text("{}")
    assert looker.state_after(0) is EntryState.WAITING
    assert looker.state_after(QUIET_S) is EntryState.READY


def test_a_patient_daemon_waits_longer_for_what_looks_whole_too(inbox: Path) -> None:
    write_bundle(inbox / "b")
    readiness = Readiness(inbox, quiet_s=20, torn_after_s=100)
    states = [readiness.look((), float(now_s))[0].state for now_s in (0, 4, 6)]
    assert states == [EntryState.WAITING, EntryState.WAITING, EntryState.READY]


def test_a_helper_that_rsync_is_writing_is_waited_for(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    partial = inbox / "b" / ".helper.py.Ab12Cd"
    partial.touch()
    looker.after(0)
    seen = looker.after(QUIET_S)["b"]
    assert (seen.state, seen.reason) == (EntryState.WAITING, "rsync is still writing .helper.py.Ab12Cd")
    partial.rename(inbox / "b" / "helper.py")
    looker.after(QUIET_S)
    assert looker.state_after(QUIET_S) is EntryState.READY


def test_a_folder_in_the_place_of_a_contract_is_rejected_soon_and_costs_no_descriptor(
    inbox: Path, looker: Looker
) -> None:
    (inbox / "b" / "contract.json").mkdir(parents=True)
    looker.after(0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        tree.look_at(inbox / "b", stat.S_IFDIR)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert looker.state_after(QUIET_S) is EntryState.READY


def test_a_partial_rsync_file_keeps_an_incomplete_folder_waiting(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    (inbox / "b" / "kernel.py").rename(inbox / "b" / ".kernel.py.Ab12Cd")
    looker.after(0)
    seen = looker.after(QUIET_S)["b"]
    assert (seen.state, seen.reason) == (EntryState.WAITING, "rsync is still writing .kernel.py.Ab12Cd")


@pytest.mark.parametrize(
    ("document", "present", "reason"),
    [
        ('{"source_file": "k.py"}', b".k\xff.py.Ab12Cd", r"rsync is still writing .k\udcff.py.Ab12Cd"),
        (r'{"source_file": "k\ud800\n.py"}', b"other.py", r"k\ud800\n.py is not there yet"),
        (None, b"contract.j\xffson", r"no contract.json, only contract.j\udcffson"),
        (
            None,
            b"a-longer-name\xff/contract.json",
            r"contract.json is one folder down, in a-longer-name\udcff/contract.json",
        ),
    ],
)
def test_a_reason_holds_no_name_that_a_result_cannot(
    inbox: Path, looker: Looker, document: str | None, present: bytes, reason: str
) -> None:
    odd = inbox / "b" / os.fsdecode(present)
    odd.parent.mkdir(parents=True)
    odd.write_text("")
    if document is not None:
        (inbox / "b" / "contract.json").write_text(document)
    assert looker.after(0)["b"].reason == reason


def test_a_single_json_is_ready_when_it_is_whole_and_stable_or_quiet(inbox: Path, looker: Looker) -> None:
    text = json.dumps(CONTRACT)
    (inbox / "k.json").write_text(text[:20])
    for _ in range(5):
        assert looker.state_after(STABLE_S) is EntryState.WAITING
    (inbox / "k.json").write_text(text)
    assert looker.state_after(STABLE_S) is EntryState.WAITING
    assert looker.state_after(STABLE_S) is EntryState.READY
    (inbox / "k.json").write_text(text[:30])
    assert looker.state_after(QUIET_S) is EntryState.WAITING
    assert looker.state_after(QUIET_S) is EntryState.READY


@pytest.mark.parametrize("form", ["b.tar", "b.tgz", "b.zip"])
def test_an_archive_is_ready_when_its_end_is_there(inbox: Path, looker: Looker, form: str, tmp_path: Path) -> None:
    write = (
        write_zip if form == "b.zip" else lambda path, what: write_tar(path, what, "w" if form == "b.tar" else "w:gz")
    )
    content = write(tmp_path / form, bundle_members() | {"zeros": bytes(5000) + b"end"}).read_bytes()
    inside = (
        content.rfind(b"end") // 512 * 512 if form == "b.tar" else len(content) // 2
    )  # after zeros, on a block's border
    for size in (10, inside, len(content.rstrip(b"\0")) - 30):
        (inbox / form).write_bytes(content[:size])
        looker.after(STABLE_S)
        assert looker.after(STABLE_S)[form].reason == "the archive has no end yet"
    (inbox / form).write_bytes(content)
    looker.after(STABLE_S)
    assert looker.state_after(STABLE_S) is EntryState.READY


def test_links_and_special_files_are_handed_over_to_be_rejected(inbox: Path, looker: Looker) -> None:
    (inbox / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(inbox / "pipe.json")
    assert {seen.state for seen in looker.after(0).values()} == {EntryState.READY}


def test_pipes_and_links_inside_a_folder_do_not_block_a_look(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    os.mkfifo(inbox / "b" / "contract.json")
    (inbox / "b" / "loop").symlink_to(".")
    looker.after(0)
    assert looker.state_after(QUIET_S) is EntryState.READY


@pytest.mark.parametrize("swapped", ["b", "b/src", "b/src/deep"])
def test_a_folder_that_is_swapped_for_a_link_during_a_look_is_not_followed(
    swapped: str, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender swaps it the moment before it is listed or opened: nobody's files elsewhere are looked at."""
    (inbox / "b" / "src" / "deep").mkdir(parents=True)
    secret = tmp_path / "secret"
    for folder in (secret, secret / "src", secret / "src" / "deep", secret / "deep"):
        folder.mkdir(exist_ok=True)
        (folder / ".salary.txt.A1b2C3").touch()  # a name that a reason would tell
    (inbox / "b" / "contract.json").write_text("{")
    (secret / "contract.json").write_text('{"source_file": "private/plans.txt"}')
    mode = (inbox / "b").lstat().st_mode

    def swap() -> None:
        if not (inbox / swapped).is_symlink():
            (inbox / swapped).rename(inbox / ".away")
            (inbox / swapped).symlink_to(secret)

    def swapping_first(act: Callable[..., object], last: str) -> Callable[..., object]:
        def acting(place: object, *rest: object, **named: object) -> object:
            if isinstance(place, int) or Path(str(place)).name == last:
                swap()
            return act(place, *rest, **named)

        return acting

    monkeypatch.setattr(os, "scandir", swapping_first(os.scandir, Path(swapped).name))
    monkeypatch.setattr(os, "open", swapping_first(os.open, Path(swapped).name))
    try:
        reason = tree.look_at(inbox / "b", mode).reason
    except OSError as error:
        reason = str(error)
    assert "salary" not in reason
    assert "plans" not in reason
    assert (inbox / swapped).is_symlink()


def test_hidden_and_temporary_names_are_counted_and_never_ready(inbox: Path, looker: Looker) -> None:
    for name in (".hidden", "x.tmp", "x.part", "x~", ".nfs01"):
        write_bundle(inbox / name)
    looker.after(0)
    seen = looker.after(TORN_S, ".hidden", "x.tmp")
    assert len(seen) == 5
    assert {entry.state for entry in seen.values()} == {EntryState.IGNORED}


def test_an_hour_of_clock_skew_changes_nothing(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    for name in ("contract.json", "kernel.py"):
        os.utime(inbox / "b" / name, (time.time() + 3600, time.time() + 3600))
    assert looker.state_after(0) is EntryState.WAITING
    assert looker.state_after(STABLE_S) is EntryState.READY


def test_the_next_entry_of_a_claimed_name_starts_from_nothing(inbox: Path, looker: Looker, tmp_path: Path) -> None:
    write_bundle(inbox / "b")
    looker.after(0)
    assert looker.state_after(STABLE_S) is EntryState.READY
    (inbox / "b").rename(tmp_path / "claimed")
    (inbox / "b").mkdir()
    assert looker.state_after(0.01) is EntryState.WAITING


def test_a_ready_bundle_that_is_written_to_again_has_to_wait_again(inbox: Path, looker: Looker) -> None:
    write_bundle(inbox / "b")
    looker.after(0)
    assert looker.state_after(STABLE_S) is EntryState.READY
    (inbox / "b" / "kernel.py").write_text("half of")
    assert looker.state_after(QUIET_S) is EntryState.WAITING


def test_a_vanished_inbox_is_our_fault_and_nothing_is_forgotten(inbox: Path, looker: Looker, tmp_path: Path) -> None:
    write_bundle(inbox / "b")
    looker.after(0)
    inbox.rename(tmp_path / "elsewhere")
    with pytest.raises(HarnessError, match=r"cannot list .* No such file"):
        looker.after(0.1)
    (tmp_path / "elsewhere").rename(inbox)
    assert looker.state_after(STABLE_S) is EntryState.READY


def test_hostile_json_is_no_danger(inbox: Path, looker: Looker) -> None:
    (inbox / "deep.json").write_text("[" * 900_000)
    (inbox / "number.json").write_text("9" * 900_000)
    (inbox / "bytes.json").write_bytes(b"\xff\xfe{}")
    looker.after(0)
    looker.after(QUIET_S)
    assert {seen.state for seen in looker.after(QUIET_S).values()} == {EntryState.READY}


def test_two_thousand_entries_are_all_taken_with_few_looks_each(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2000):
        (inbox / f"k{number}.json").write_text("{}")
    looks, largest = 0, 0
    look_at: Callable[[Path, int], tree.Look] = tree.look_at

    def counted(path: Path, mode: int) -> tree.Look:
        nonlocal looks
        looks += 1
        return look_at(path, mode)

    monkeypatch.setattr(tree, "look_at", counted)
    monkeypatch.setattr(readiness, "_SCAN_BUDGET_S", 3600.0)  # on a busy machine a second is for fewer than the limit
    looker, ready = Looker(inbox, limit=200), set()
    for _ in range(40):
        before = looks
        for name, seen in looker.after(STABLE_S).items():
            if seen.state is EntryState.READY and name not in ready:
                ready.add(name)
                (inbox / name).unlink()
        largest = max(largest, looks - before)
        if len(ready) == 2000:
            break
    assert len(ready) == 2000
    assert largest <= 200
    assert looks <= 5000
    assert looker.after(1) == {}


def test_many_incomplete_entries_do_not_starve_a_whole_one(inbox: Path) -> None:
    for number in range(100):
        (inbox / f"a{number:03}").mkdir()
    looker = Looker(inbox, limit=4)
    for _ in range(3):
        looker.after(STABLE_S)
    write_bundle(inbox / "whole")
    states = [looker.after(STABLE_S)["whole"].state for _ in range(150)]
    assert EntryState.READY in states


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("each_takes_the_whole_scan", [False, True])
def test_whoever_drops_much_that_is_looked_at_again_and_again_holds_up_nobody_else(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, *, each_takes_the_whole_scan: bool
) -> None:
    if each_takes_the_whole_scan:
        monkeypatch.setattr(readiness, "_SCAN_BUDGET_S", -1.0)
    for number in range(300):
        (inbox / f"a{number:03}").mkdir()
        os.chown(inbox / f"a{number:03}", 4321, 4321)
    looker = Looker(inbox, limit=4)
    for _ in range(3):
        looker.after(STABLE_S)
    for name in ("whole", "whole too"):
        write_bundle(inbox / name)
    states = [looker.after(STABLE_S) for _ in range(8)][-1]
    assert [states[name].state for name in ("whole", "whole too")] == [EntryState.READY] * 2


def test_a_hundred_thousand_names_take_flat_memory_each(inbox: Path) -> None:
    source = inbox.parent / "one"
    source.write_text("{}")
    for number in range(20_000):  # the same per name as for 100,000
        os.link(source, inbox / f"k{number}.json")
    looker = Looker(inbox, limit=64)
    tracemalloc.start()
    try:
        looker.after(1)
        looker.after(1)
        assert tracemalloc.get_traced_memory()[0] / 20_000 < 1000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tool", ["cp", "rsync", "scp", "tar"])
def test_what_real_tools_drop_in_place_is_taken_whole(tool: str, inbox: Path, looker: Looker, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    source = write_bundle(tmp_path / "b", SOURCE + "#" * 300_000)
    write_tar(tmp_path / "b.tar", {"b/contract.json": b"{}"}, "w")
    commands = {
        "cp": ["cp", "-r", str(source), str(inbox)],
        "rsync": ["rsync", "-a", str(source), str(inbox)],
        "scp": ["scp", "-q", "-r", str(source), str(inbox)],
        "tar": ["tar", "xf", str(tmp_path / "whole.tar"), "-C", str(inbox)],
    }
    if tool == "tar":
        subprocess.run(["tar", "cf", str(tmp_path / "whole.tar"), "-C", str(tmp_path), "b"], check=True)
    process = subprocess.Popen(commands[tool])
    while process.poll() is None:
        assert "b" not in looker.after(0.0) or looker.after(0.0)["b"].state is EntryState.WAITING
    assert process.returncode == 0
    looker.after(STABLE_S)
    assert looker.state_after(STABLE_S) is EntryState.READY
    copied = private_copy(inbox / "b", tmp_path / "copy", Limits())
    assert (copied.dir / "kernel.py").read_text() == (source / "kernel.py").read_text()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of the host forward, or back."""
    now_s = time.time()

    def move(seconds: float) -> None:
        monkeypatch.setattr("daemon.intake.readiness.time.time", lambda: now_s + seconds)

    return move


def first_look(inbox: Path, *, own_times: bool = True) -> dict[str, EntryState]:
    readiness = Readiness(inbox, quiet_s=QUIET_S, torn_after_s=TORN_S, stable_s=STABLE_S, own_times=lambda: own_times)
    return {seen.name: seen.state for seen in readiness.look((), 1000.0)}


def test_what_is_whole_and_old_needs_one_look_where_the_clock_is_ours(
    inbox: Path, later: Callable[[float], None]
) -> None:
    write_bundle(inbox / "folder")
    (inbox / "file.json").write_text(json.dumps(CONTRACT))
    (inbox / "torn").mkdir()
    later(QUIET_S + 60)
    waits, ready = EntryState.WAITING, EntryState.READY
    assert first_look(inbox) == {"folder": ready, "file.json": ready, "torn": waits}
    assert first_look(inbox, own_times=False) == {"folder": waits, "file.json": waits, "torn": waits}


@pytest.mark.parametrize("moved_s", [QUIET_S - 1, -3600.0])
def test_what_changed_lately_or_in_the_future_needs_two_looks(
    inbox: Path, later: Callable[[float], None], moved_s: float
) -> None:
    write_bundle(inbox / "b")
    later(moved_s)
    assert first_look(inbox) == {"b": EntryState.WAITING}


def test_an_old_mtime_does_not_make_an_entry_old(inbox: Path, later: Callable[[float], None]) -> None:
    write_bundle(inbox / "b")
    for path in (*(inbox / "b").rglob("*"), inbox / "b"):
        os.utime(path, (0, 0))
    later(1)
    assert first_look(inbox) == {"b": EntryState.WAITING}


def test_the_youngest_part_of_an_entry_tells_its_age(inbox: Path) -> None:
    write_bundle(inbox / "b")
    before_s = max(path.lstat().st_ctime for path in (*(inbox / "b").rglob("*"), inbox / "b"))
    mode = (inbox / "b").lstat().st_mode
    assert tree.changed_s(inbox / "b", mode) == before_s
    deep = next(path for path in (inbox / "b").rglob("*") if path.is_file())
    while deep.lstat().st_ctime <= before_s:  # the file system's clock ticks a few hundred times a second
        deep.chmod(0o600)
        deep.chmod(0o644)
    assert tree.changed_s(inbox / "b", mode) > before_s


def test_what_arrives_is_ready_without_a_scan_and_is_told_once(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    arrived = looker.readiness.arrived("b", looker.now_s)
    assert arrived is not None
    assert (arrived.state, arrived.submitter_uid) == (EntryState.READY, (inbox / "b").lstat().st_uid)
    assert looker.readiness.arrived("b", looker.now_s) is None
    assert looker.readiness.arrived("gone", looker.now_s) is None
    assert looker.state_after(0) is EntryState.READY


def test_an_entry_that_was_replaced_is_not_the_one_that_was_looked_at(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    looker.after(0)
    assert looker.readiness.is_still_there("b")
    (inbox / "b").rename(inbox.parent / "kept")
    assert not looker.readiness.is_still_there("b")
    (inbox / "b").mkdir()
    assert not looker.readiness.is_still_there("b")
    assert not looker.readiness.is_still_there("never seen")


def tick(entry: Path) -> None:
    """Wait until the clock of the file system has moved on since `entry` changed."""
    probe, before_ns = entry.parent.parent / "probe", entry.lstat().st_ctime_ns
    probe.touch()
    while probe.lstat().st_ctime_ns <= before_ns:
        probe.touch()


def begin_again(folder: Path) -> None:
    """What `rm -r` and a `cp -r` that has just begun leave: an empty folder. ext4 gives it the inode of the first."""
    tick(folder)
    for entry in folder.iterdir():
        entry.unlink()


def test_a_contract_is_found_among_more_files_than_are_looked_at(
    inbox: Path, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_ENTRY_LIMIT", 0)
    write_bundle(inbox / "b")
    looker.after(0)
    assert looker.state_after(QUIET_S) is EntryState.READY


@pytest.mark.parametrize("arrives", [True, False], ids=["by a rename", "in place"])
def test_a_ready_bundle_that_is_copied_again_under_the_same_inode_is_not_taken_half_written(
    inbox: Path, looker: Looker, arrives: bool
) -> None:
    write_bundle(inbox / "b")
    looker.after(0, *(["b"] if arrives else []))
    assert looker.state_after(STABLE_S) is EntryState.READY
    assert looker.readiness.is_still_there("b")
    begin_again(inbox / "b")
    assert not looker.readiness.is_still_there("b")
    looker.readiness.forget("b")
    assert looker.after(QUIET_S)["b"].reason == "waits for its contract.json"
    write_bundle(inbox / "b")
    assert looker.state_after(QUIET_S) is EntryState.WAITING
    assert looker.state_after(STABLE_S) is EntryState.READY
    assert looker.readiness.is_still_there("b")


def test_of_a_bundle_that_is_copied_again_with_its_old_times_the_first_look_counts_for_nothing(
    inbox: Path, looker: Looker
) -> None:
    write_bundle(inbox / "b")
    (inbox / "b" / "beside.h").write_text("x")
    times_ns = {path: path.stat().st_mtime_ns for path in (inbox / "b").iterdir()}
    looker.after(0)
    assert looker.state_after(STABLE_S) is EntryState.READY
    begin_again(inbox / "b")
    write_bundle(inbox / "b")
    for path in (inbox / "b").iterdir():
        os.utime(path, ns=(times_ns[path], times_ns[path]))
    assert looker.state_after(QUIET_S) is EntryState.WAITING


def test_a_torn_folder_that_is_copied_again_under_the_same_inode_is_not_torn(inbox: Path, looker: Looker) -> None:
    (inbox / "b").mkdir()
    looker.after(0)
    assert looker.state_after(TORN_S) is EntryState.TORN
    begin_again(inbox / "b")
    (inbox / "b").chmod(0o700)  # there was nothing to remove, so nothing has changed it yet
    assert not looker.readiness.is_still_there("b")
    assert looker.state_after(QUIET_S) is EntryState.WAITING


def test_a_ready_file_that_is_overwritten_in_place_is_not_taken_half_written(inbox: Path, looker: Looker) -> None:
    (inbox / "k.json").write_text(json.dumps(CONTRACT))
    looker.after(0, "k.json")
    assert looker.readiness.is_still_there("k.json")
    (inbox / "k.json").write_text("{")
    assert not looker.readiness.is_still_there("k.json")
    looker.readiness.forget("k.json")
    assert looker.state_after(STABLE_S) is EntryState.WAITING


def test_another_name_of_the_same_file_changes_nothing(inbox: Path, looker: Looker) -> None:
    (inbox / "k.json").write_text(json.dumps(CONTRACT))
    os.link(inbox / "k.json", inbox / "twin.json")
    looker.after(0, "k.json", "twin.json")
    tick(inbox / "k.json")
    (inbox / "k.json").rename(inbox.parent / "claimed")
    assert looker.readiness.is_still_there("twin.json")


class Listing:
    """`os.scandir` as an overlay has it: the numbers of its entries are not those that stat gives."""

    def __init__(self, inbox: Path) -> None:
        self._entries = list(REAL_SCANDIR(inbox))

    def __enter__(self) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(name=one.name, inode=lambda one=one: one.inode() + 1) for one in self._entries]

    def __exit__(self, *_: object) -> None: ...


REAL_SCANDIR = os.scandir


def test_where_a_listing_numbers_entries_otherwise_than_stat_they_are_still_the_same(
    inbox: Path, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(inbox / "listed")
    monkeypatch.setattr(
        readiness.os, "scandir", lambda place: Listing(place) if place == inbox else REAL_SCANDIR(place)
    )
    looker.after(0)
    looker.after(3.0)
    write_bundle(inbox / "moved")
    assert looker.readiness.arrived("moved", looker.now_s) is not None
    seen = {name: one.state for name, one in looker.after(0).items()}
    assert seen == {"listed": EntryState.READY, "moved": EntryState.READY}
    assert looker.readiness.is_still_there("listed")
    assert looker.readiness.is_still_there("moved")
    assert looker.readiness.arrived("moved", looker.now_s) is None
    (inbox / "moved").rename(inbox.parent / "kept")
    write_bundle(inbox / "moved")
    assert not looker.readiness.is_still_there("moved")
