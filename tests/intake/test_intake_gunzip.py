"""gzip read at a cost that its length bounds: the same bytes as Python's own reader, and no patience for padding."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.intake import gunzip
from daemon.intake.gunzip import Gunzip
from daemon.intake.names import Form
from daemon.intake.trailer import is_intact


@given(
    members=st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 40)), min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
)
def test_members_and_the_zeros_between_them_read_as_pythons_own_reader_has_them(
    members: list[tuple[bytes, int]], sizes: list[int]
) -> None:
    packed = b"".join(gzip.compress(content) + bytes(padding) for content, padding in members)
    reader, found = Gunzip(io.BytesIO(packed)), b""
    while piece := reader.read(sizes[len(found) % len(sizes)]):
        found += piece
    assert found == gzip.decompress(packed) == b"".join(content for content, _ in members)
    assert reader.read(1) == b""


def test_reads_are_as_long_as_they_were_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzip, "_CHUNK_BYTES", 7)
    content = os.urandom(5000) + bytes(100_000)
    reader = Gunzip(io.BytesIO(gzip.compress(content)))
    assert [len(reader.read(size)) for size in (1, 4096, 100_000, 10_000)] == [1, 4096, 100_000, 903]


@pytest.mark.parametrize("cut", [1, 5, 9, 12, -9, -1])
def test_a_member_cut_short_is_told(cut: int) -> None:
    with pytest.raises(EOFError):
        Gunzip(io.BytesIO(gzip.compress(b"content of a bundle")[:cut])).read(1000)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"a") + b"junk",
        b"junk" + gzip.compress(b"a"),
        bytes(3) + gzip.compress(b"a"),
        gzip.compress(b"abcdef", mtime=0)[:-8] + b"\1\2\3\4" + gzip.compress(b"abcdef", mtime=0)[-4:],
    ],
    ids=["behind", "before", "zeros-before", "checksum"],
)
def test_what_is_no_gzip_is_told(packed: bytes) -> None:
    with pytest.raises(zlib.error):
        Gunzip(io.BytesIO(packed)).read(1000)


def test_so_many_members_are_no_bundle() -> None:
    empty = gzip.compress(b"", mtime=0)
    with pytest.raises(ValueError, match="members"):
        Gunzip(io.BytesIO(empty * (gunzip._MOST_MEMBERS + 1))).read(1)


def test_padding_without_end_is_not_read_when_an_archive_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "pad.tgz"
    sparse.write_bytes(gzip.compress(b"x" * 100))
    os.truncate(sparse, 1 << 40)
    monkeypatch.setattr(Gunzip, "read", lambda *_: pytest.fail("it was read"))
    assert not is_intact(sparse, Form.TAR)
