from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.evaluation import Failure
from daemon.executor.artifacts import build as build_module
from daemon.executor.artifacts.build import Artifact, ArtifactCache, artifact_key, keep
from daemon.executor.artifacts.bundle import KernelFiles
from daemon.executor.backends._compiler_log import is_final
from daemon.executor.cells.endings import CellFailed
from daemon.verdict import Phase, Side, Verdict


def test_an_artifact_comes_back_as_it_was_put(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "c", 1 << 20)
    assert cache.get("k") is None
    cache.put("k", Artifact(b"\x00\n\xff" * 100, {"registers": 12}, 3.5))
    found = cache.get("k")
    assert found == Artifact(b"\x00\n\xff" * 100, {"registers": 12}, 3.5, cached=True)


def test_a_cache_that_somebody_has_removed_whole_is_made_anew(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "c", 1 << 20)
    cache.put("k", Artifact(b"artifact"))
    shutil.rmtree(tmp_path / "c")
    assert cache.get("k") is None
    cache.put("k", Artifact(b"artifact"))
    assert cache.get("k") is not None


def test_a_damaged_entry_counts_as_absent(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    for damage in (
        lambda d: d[:-1],
        lambda d: d[:-1] + b"x",
        lambda d: b"",
        lambda d: b"[]\n" + d,
        lambda d: b"\xff" + d,
    ):
        cache.put("k", Artifact(b"artifact"))
        path = tmp_path / "k"
        path.write_bytes(damage(path.read_bytes()))
        assert cache.get("k") is None


def test_the_oldest_goes_when_the_cache_is_full_and_use_keeps_one_young(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 3500)
    for number, name in enumerate("abc"):
        cache.put(name, Artifact(bytes(1000)))
        os.utime(tmp_path / name, (number, number))
    assert cache.get("a") is not None
    cache.put("d", Artifact(bytes(1000)))
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]


def test_what_was_put_last_stays_also_where_its_time_does_not_say_so(tmp_path: Path) -> None:
    """Entries come faster than a file system's clock ticks, and a clock may be set back."""
    cache = ArtifactCache(tmp_path, 3500)
    later = time.time() + 60
    for name in "cba":
        cache.put(name, Artifact(bytes(1000)))
        os.utime(tmp_path / name, (later, later))
    cache.put("d", Artifact(bytes(1000)))
    assert cache.get("d") is not None
    assert sum(cache.get(name) is not None for name in "abc") == 2


def test_a_refusal_is_asked_for_again_after_a_day(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    keep(cache, "k", refusing(Verdict.COMPILE_ERROR, final=True))
    found = cache.get("k")
    assert found is not None and found.refusal is not None
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / "k", (yesterday, yesterday))
    assert cache.get("k") is None


def test_what_another_process_removes_meanwhile_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ArtifactCache(tmp_path, 3500)
    there = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([*there(self), self / "gone"]))
    for name in "abcd":
        cache.put(name, Artifact(bytes(1000)))
    assert cache.get("d") is not None


def test_what_was_built_is_there_although_the_disk_does_not_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = ArtifactCache(tmp_path, 1 << 20)
    monkeypatch.setattr(cache, "put", full)
    assert keep(cache, "k", lambda: Artifact(b"built")).data == b"built"


def refusing(verdict: Verdict, *, final: bool) -> Callable[[], Artifact]:
    def build() -> Artifact:
        raise CellFailed(verdict, Failure(phase=Phase.BUILD, side=Side.CANDIDATE, message="said"), final=final)

    return build


def test_what_a_compiler_refused_is_kept_in_its_own_words(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    first = keep(cache, "k", refusing(Verdict.COMPILE_ERROR, final=True))
    found = cache.get("k")
    assert found is not None and first.refusal is not None
    assert (found.refusal, found.cached, first.cached) == (first.refusal, True, False)
    assert (found.refusal.message, found.data) == ("said", b"") if found.refusal else False


@pytest.mark.parametrize(
    "verdict", [Verdict.TIMEOUT, Verdict.OUT_OF_MEMORY, Verdict.RUNTIME_ERROR, Verdict.COMPILE_ERROR]
)
def test_any_other_end_of_a_build_is_not_kept(tmp_path: Path, verdict: Verdict) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    with pytest.raises(CellFailed):
        keep(cache, "k", refusing(verdict, final=False))
    assert cache.get("k") is None and not list(tmp_path.iterdir())


def test_a_cache_of_small_entries_is_bounded_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_MOST_ENTRIES", 3)
    cache = ArtifactCache(tmp_path, 1 << 20)
    for number, name in enumerate("abcde"):
        cache.put(name, Artifact(b"x"))
        os.utime(tmp_path / name, (number, number))
    assert [name for name in "abcde" if cache.get(name) is not None] == ["c", "d", "e"]


def test_the_headers_beside_the_artifacts_count_and_stay(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 3500)
    (tmp_path / "headers" / "key").mkdir(parents=True)
    (tmp_path / "headers" / "key" / "header").write_bytes(bytes(2000))
    for number, name in enumerate("ab"):
        cache.put(name, Artifact(bytes(1000)))
        os.utime(tmp_path / name, (number, number))
    assert cache.get("a") is None and cache.get("b") is not None
    assert (tmp_path / "headers" / "key" / "header").exists()


@pytest.mark.parametrize(
    ("log", "final"),
    [
        ("main.cpp:3:5: error: 'y' was not declared", True),
        ("[1/2] nvcc\ncuda.cu(9): error: identifier", True),
        ("kernel.cu(9): error #20: identifier", True),
        ("c++: fatal error: Killed signal terminated program cc1plus", False),
        ("main.cpp:1:1: fatal error: error writing to /tmp/x.s: No space left on device", False),
        ("main.cpp:1:1: internal compiler error: Segmentation fault", False),
        ("virtual memory exhausted: Cannot allocate memory", False),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", False),
        ("ninja: error: loading 'build.ninja': No such file", False),
    ],
)
def test_only_an_error_at_a_place_of_the_source_is_final(log: str, final: bool) -> None:
    assert is_final(log) is final


def test_the_key_covers_sources_flags_and_toolchain_but_not_the_side() -> None:
    files = KernelFiles("k.py", (("k.py", b"x"),))
    base = artifact_key({"side": "candidate", "metadata": {}}, files, {"torch": "1"})
    assert base == artifact_key({"side": "reference", "metadata": {}}, files, {"torch": "1"})
    others = [
        artifact_key({"side": "candidate", "metadata": {"a": 1}}, files, {"torch": "1"}),
        artifact_key({"side": "candidate", "metadata": {}}, files, {"torch": "2"}),
        artifact_key({"side": "candidate", "metadata": {}}, KernelFiles("k.py", (("k.py", b"y"),)), {"torch": "1"}),
        artifact_key({"side": "candidate", "metadata": {}}, KernelFiles("k.py", (("kx.py", b""),)), {"torch": "1"}),
    ]
    assert len({base, *others}) == 5


def test_what_cannot_be_read_is_absent_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    cache.put("key", Artifact(b"first"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _refused)
        assert cache.get("key") is None
    cache.put("key", Artifact(b"second"))
    found = cache.get("key")
    assert found is not None and found.data == b"second"


def test_what_somebody_began_to_write_who_was_killed_goes_after_a_while(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 1 << 20)
    for name, age_s in ((".key.0a.tmp", 7200.0), (".key.0b.tmp", 60.0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    cache.put("other", Artifact(b"whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".key.0b.tmp", "other"]


def _refused(*_: object, **__: object) -> None:
    raise PermissionError("not yours")
