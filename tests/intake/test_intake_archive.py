from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_bundles import bundle_members, write_bundle, write_tar, write_zip

from daemon.config import Limits
from daemon.errors import BundleError
from daemon.intake import archive
from daemon.intake.admission import path_fault
from daemon.intake.copying import private_copy

LIMITS = Limits()
MIB = 1024 * 1024
HOSTILE_PATHS = {
    "/etc/cron.d/x": "absolute",
    "../up.py": "..",
    "a/../../up.py": "..",
    "a\\..\\b.py": "backslash",
    "C:/x.py": "drive letter",
    "new\nline.py": "control character",
    "n" * 256 + ".py": "longer than 255",
    "/".join(["d"] * 40): "folders deep",
    "/".join(["d" * 100] * 12): "bytes, more than",
    "KERNEL.py": "only by upper and lower case",
    "kernel.py": "appears twice",
    "kernel.py/inner": "appears twice",
}


def problems(entry: Path, limits: Limits = LIMITS) -> str:
    """What is wrong with the archive; checks that a refused one leaves nothing behind, beside or above."""
    before = {path for path in entry.parent.rglob("*")}
    with pytest.raises(BundleError) as caught:
        private_copy(entry, entry.parent / "copy", limits)
    assert {path for path in entry.parent.rglob("*")} == before
    return str(caught.value)


def with_extra(path: Path, name: str, content: bytes = b"x") -> Path:
    """A sound bundle plus one member of this name."""
    if path.suffix == ".zip":
        write_zip(path, bundle_members())
        with zipfile.ZipFile(path, "a") as packed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the duplicate name
            info = zipfile.ZipInfo("x")
            info.filename = name
            packed.writestr(info, content)
        return path
    write_tar(path, bundle_members(), "w")
    with tarfile.open(path, "a") as tar:
        header = tarfile.TarInfo(name)
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))
    return path


@pytest.mark.parametrize("form", ["b.tar", "b.zip"])
@pytest.mark.parametrize("name", HOSTILE_PATHS)
def test_a_hostile_path_is_refused_with_its_reason(form: str, name: str, tmp_path: Path) -> None:
    assert HOSTILE_PATHS[name] in problems(with_extra(tmp_path / form, name))


@pytest.mark.parametrize("form", ["b.tar", "b.zip"])
def test_every_problem_is_listed_not_just_the_first(form: str, tmp_path: Path) -> None:
    entry = tmp_path / form
    members = {"../a": b"", "/b": b"", "c\\d": b""}
    (write_zip if form.endswith("zip") else lambda path, what: write_tar(path, what, "w"))(entry, members)
    assert len(problems(entry).splitlines()) == 3


@given(st.text(max_size=60) | st.from_regex(r"(\.{0,2}/|[a-zA-Z]:|\\|[a-z]){1,12}", fullmatch=True))
def test_an_accepted_path_stays_below_the_folder(name: str) -> None:
    if path_fault(name) is None:
        place = os.path.normpath(f"/top/bundle/{name}")
        assert place == "/top/bundle" or place.startswith("/top/bundle/")
        assert "\0" not in name


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=4), st.booleans())
def test_archives_of_any_member_names_never_write_outside(names: list[str], as_zip: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "a" / "b"
        inner.mkdir(parents=True)
        entry = inner / ("b.zip" if as_zip else "b.tar")
        members = bundle_members() | {name: b"x" for name in names if "\0" not in name}
        write_zip(entry, members) if as_zip else write_tar(entry, members, "w")
        try:
            private_copy(entry, inner / "copy", LIMITS)
        except BundleError:
            assert not (inner / "copy").exists()
        assert {path.name for path in Path(folder).iterdir()} == {"a"}
        assert {path.name for path in inner.iterdir()} <= {entry.name, "copy"}


@settings(max_examples=120)
@given(st.sampled_from(["b.tar", "b.tgz", "b.zip"]), st.data())
def test_a_damaged_archive_is_refused_or_read_but_never_breaks_the_daemon(form: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder) / form
        if form == "b.zip":
            write_zip(entry, bundle_members())
        else:
            write_tar(entry, bundle_members(), "w" if form == "b.tar" else "w:gz")
        content = bytearray(entry.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        entry.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            private_copy(entry, Path(folder) / "copy", Limits(decompressed_bytes=MIB))
        except BundleError as error:
            assert error.problems


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"S", b"Z"])
def test_tar_members_that_are_no_plain_files_are_refused(kind: bytes, tmp_path: Path) -> None:
    entry = tmp_path / "b.tar"
    with tarfile.open(entry, "w") as tar:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "kernel.py"
        tar.addfile(info)
    assert "odd" in problems(entry)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK])
def test_zip_members_that_are_no_plain_files_are_refused(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        info = zipfile.ZipInfo("odd")
        info.external_attr = (kind | 0o777) << 16
        packed.writestr(info, "/etc/passwd")
    assert "only plain files" in problems(tmp_path / "b.zip")


def test_encryption_and_rare_compression_are_named(tmp_path: Path) -> None:
    entry = write_zip(tmp_path / "b.zip", {"kernel.py": b"x"})
    content = entry.read_bytes()
    entry.write_bytes(content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))
    assert "encrypted" in problems(entry)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(entry, "w", method) as packed:
            packed.writestr("kernel.py", b"x")
        assert "zip method" in problems(entry)
    with tarfile.open(tmp_path / "b.tar", "w:xz") as tar:
        tar.add(entry, "kernel.py")
    assert "packed with xz" in problems(tmp_path / "b.tar")


@pytest.mark.parametrize("form", ["b.tar", "b.tgz", "b.zip"])
def test_an_archive_cut_anywhere_is_refused(form: str, tmp_path: Path) -> None:
    whole = tmp_path / form
    if form == "b.zip":
        write_zip(whole, bundle_members())
        content = whole.read_bytes()
    else:
        write_tar(whole, bundle_members(), "w" if form == "b.tar" else "w:gz")
        content = whole.read_bytes()
        if form == "b.tar":
            content = content.rstrip(b"\0") + bytes(1)  # what follows is only the end mark
    for size in range(0, len(content) - 1, max(1, len(content) // 25)):
        whole.write_bytes(content[:size])
        assert problems(whole)


def _zeros_gz(path: Path, size: int, head: bytes = b"") -> Path:
    """`head` and `size` zeros, packed without ever having them: gzip members may follow each other."""
    piece = gzip.compress(bytes(64 * MIB))
    with path.open("wb") as stream:
        stream.write(gzip.compress(head))
        for _ in range(size // (64 * MIB)):
            stream.write(piece)
    return path


def _zeros_zip(path: Path, size: int, claimed: int) -> Path:
    """A zip whose one member inflates to `size` zeros while its header says `claimed`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packer.compress(b"")
    piece = packer.compress(bytes(64 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = piece * (size // (64 * MIB)) + packer.flush()
    name = b"zeros"
    fields = (20, 0, 8, 0, 33, 0, len(body), claimed, len(name), 0)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *fields) + name + body
    central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


def _tar_header(size: int, kind: bytes = tarfile.REGTYPE, name: str = "zeros") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("bomb", ["tgz", "zip", "long name", "pax header", "skipped", "tail"])
def test_a_bomb_of_ten_gigabytes_is_refused_in_flat_memory(bomb: str, tmp_path: Path) -> None:
    size, entry = 10 * 1024 * MIB, tmp_path / "b.tgz"
    if bomb == "zip":
        entry = _zeros_zip(tmp_path / "b.zip", size, claimed=0xFFFFFFF0)
    elif bomb == "tail":
        _zeros_gz(entry, size, bytes(1024))
    else:
        kinds = {"long name": tarfile.GNUTYPE_LONGNAME, "pax header": tarfile.XHDTYPE, "skipped": tarfile.CHRTYPE}
        _zeros_gz(entry, size, _tar_header(size, kinds.get(bomb, tarfile.REGTYPE)))
    assert entry.stat().st_size < 30 * MIB
    tracemalloc.start()
    try:
        assert problems(entry, Limits(decompressed_bytes=96 * MIB))
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


def _with_header(path: Path, words: bytes) -> Path:
    """A tar whose contract has an extended header of these words: KEY=VALUE."""
    size = len(words) + 2
    while len(record := b"%d %s\n" % (size, words)) != size:
        size += 1
    header = _tar_header(len(record), tarfile.XHDTYPE) + record.ljust(-(-len(record) // 512) * 512, b"\0")
    path.write_bytes(header + _tar_header(2, name="contract.json") + b"{}".ljust(512, b"\0") + bytes(1024))
    return path


def test_digits_that_the_standard_reader_would_look_at_for_hours_are_refused(tmp_path: Path) -> None:
    """Of a header of 80,000 digits Python 3.11.7's makes 15 seconds, of five million a day."""
    assert "a header has a number of 200 digits" in problems(
        _with_header(tmp_path / "b.tar", b"comment=" + b"1" * 1000)
    )


def test_a_number_in_a_header_of_an_archive_is_no_fault(tmp_path: Path) -> None:
    copied = private_copy(_with_header(tmp_path / "b.tar", b"comment=" + b"1" * 150), tmp_path / "copy", LIMITS)
    assert copied.files == ("contract.json",)


@pytest.mark.parametrize("name", [b"a/" * 500_000, b"\x01" * 1_000_000])
def test_a_name_of_megabytes_is_told_by_its_beginning(name: bytes, tmp_path: Path) -> None:
    told = problems(_with_header(tmp_path / "b.tar", b"path=" + name))
    assert len(told) < 10_000


def test_a_zip_that_claims_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    assert problems(_zeros_zip(tmp_path / "b.zip", 64 * MIB, claimed=10))


def test_an_archive_of_a_million_members_is_refused_in_flat_memory(tmp_path: Path) -> None:
    record = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = record * 1_000_000
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)
    (tmp_path / "b.zip").write_bytes(directory + end)
    (tmp_path / "b.tar").write_bytes(b"".join(_tar_header(0, name=f"f{number}") for number in range(3000)))
    tracemalloc.start()
    try:
        assert "directory is larger" in problems(tmp_path / "b.zip")
        assert "limits.file_count" in problems(tmp_path / "b.tar")
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


def test_an_archive_larger_than_a_bundle_may_be_is_not_opened(tmp_path: Path) -> None:
    entry = write_tar(tmp_path / "b.tar", bundle_members(), "w")
    assert "limits.bundle_bytes" in problems(entry, Limits(bundle_bytes=100))


def test_the_noise_of_other_systems_does_not_hide_the_leading_folder(tmp_path: Path) -> None:
    members = bundle_members("vec_add/") | {"__MACOSX/vec_add/._kernel.py": b"x", ".DS_Store": b"x"}
    copied = private_copy(write_zip(tmp_path / "b.zip", members), tmp_path / "copy", LIMITS)
    assert copied.files == ("contract.json", "kernel.py")


@pytest.mark.parametrize("tool", ["tar", "zip"])
def test_archives_made_by_the_real_tools_are_read(tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    write_bundle(tmp_path / "vec_add" / "inner" / "..")
    commands = {
        "tar": [["tar", "czf", "b.tgz", "vec_add"], ["tar", "cf", "c.tar", "-C", "vec_add", "."]],
        "zip": [["zip", "-qr", "b.zip", "vec_add"]],
    }
    for command in commands[tool]:
        subprocess.run(command, cwd=tmp_path, check=True)
        entry = tmp_path / next(word for word in command if "." in word and len(word) > 1)
        assert private_copy(entry, tmp_path / "copy", LIMITS).files == ("contract.json", "kernel.py")


@pytest.mark.parametrize("name", ["k.zip", "k.tar", "k.tar.gz", "k.tgz"])
def test_an_empty_archive_is_called_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BundleError, match="is empty"):
        private_copy(tmp_path / name, tmp_path / "copy", LIMITS)


def test_a_zip_that_holds_nothing_says_so_whatever_zipfile_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of Ubuntu's reads it as sound, others fail at it."""

    class Sound:
        def __init__(self, _: object) -> None: ...
        def __enter__(self) -> Sound:
            return self

        def __exit__(self, *_: object) -> None: ...
        def infolist(self) -> list[object]:
            return []

    zipfile.ZipFile(tmp_path / "k.zip", "w").close()
    monkeypatch.setattr(archive.zipfile, "ZipFile", Sound)
    assert "is an archive that holds nothing" in problems(tmp_path / "k.zip")


@pytest.mark.parametrize(
    ("name", "made_as", "said"),
    [
        ("k.zip", "k.tar", "is no zip but a tar archive; name it .tar$"),
        ("k.zip", "k.tgz", "is no zip but a tar archive; name it .tar.gz"),
        ("k.tar", "k.zip", "is no tar but a zip archive; name it .zip"),
        ("k.tgz", "page", "is no archive but text: '<html>Not found'"),
        ("k.zip", "page", "is no archive but text: '<html>Not found'"),
        ("k.zip", "nothing.zip", "holds nothing"),
        ("k.tar", "noise", "is not a sound archive"),
        ("k.zip", "noise", "is not a sound archive"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_as_what_it_is(
    tmp_path: Path, name: str, made_as: str, said: str
) -> None:
    """A page of errors saved as a .zip was one in which an offset points outside of the file."""
    made = tmp_path / "made" / made_as
    made.parent.mkdir()
    if made_as == "page":
        made.write_text("\n<html>Not found\r\n</html>\n")
    elif made_as == "noise":
        made.write_bytes(b"\0\xff" * 4096)
    elif made_as == "nothing.zip":
        zipfile.ZipFile(made, "w").close()
    elif made_as == "k.zip":
        write_zip(made, bundle_members())
    else:
        write_tar(made, bundle_members(), "w:gz" if made_as == "k.tgz" else "w")
    made.rename(tmp_path / name)
    made.parent.rmdir()
    assert re.search(said, problems(tmp_path / name))
