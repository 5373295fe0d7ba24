from __future__ import annotations

import os
from pathlib import Path

from daemon.executor.build import Artifact, ArtifactCache, artifact_key
from daemon.executor.bundle import KernelFiles


def test_an_artifact_comes_back_as_it_was_put(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "c", 1 << 20)
    assert cache.get("k") is None
    cache.put("k", Artifact(b"\x00\n\xff" * 100, {"registers": 12}, 3.5))
    found = cache.get("k")
    assert found == Artifact(b"\x00\n\xff" * 100, {"registers": 12}, 3.5, cached=True)


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
