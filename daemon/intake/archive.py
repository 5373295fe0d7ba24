"""Unpacking `.tar`, `.tar.gz`, `.tgz` and `.zip` member by member: nothing in an archive is believed.

Theory of operation. The standard readers parse, but they trust sizes that the archive claims: a tar header may
announce 8 GB of extended headers, a zip directory may hold millions of entries, and both would be read into memory.
So they read through streams of ours that refuse more bookkeeping than `_overhead_limit` allows. Content is counted as
it comes out of the decompressor, whatever the headers say. Only regular files and folders are taken; links and
devices are refused.
"""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from daemon.config import Limits
from daemon.errors import HarnessError
from daemon.intake import regular
from daemon.intake.admission import Admission
from daemon.intake.gunzip import MAGIC, Gunzip
from daemon.intake.names import Form
from daemon.intake.writing import CHUNK_BYTES, make_folder, pour

_BLOCK_BYTES = 512
# Before 3.11.10 and 3.12.6 tarfile looks for numbers in extended headers in a way that takes hours for megabytes of
# digits (CVE-2024-6232), and lets no other thread of the process run meanwhile.
_LONG_NUMBER = b"0" * 200
_AS_DIGITS = bytes(48 if byte in b"0123456789" else 32 for byte in range(256))
_ENCRYPTED = 0x1
_OTHER_PACKERS = {b"BZh": "bzip2", b"\xfd7z": "xz", b"\x28\xb5\x2f": "zstd", b"7z\xbc": "7-zip", b"Rar": "rar"}
_TAR_MAGIC = slice(257, 262)
_ZIP_MAGIC, _EMPTY_ZIP = b"PK\x03\x04", b"PK\x05\x06"
_SHOWN = 60
_HOLDS_NOTHING = "is an archive that holds nothing"
_PARSER_FAULTS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    NotImplementedError,
    RecursionError,
)


def unpack(form: Form, descriptor: int, target: Path, admission: Admission, limits: Limits) -> None:
    """Unpack the open archive into the folder `target`. Raises `BundleError` where going on makes no sense."""
    with regular.stream_of(os.dup(descriptor), closes=True, buffer_bytes=CHUNK_BYTES) as raw:
        head = _read(raw, 3)
        if not head:
            admission.stop("is empty: 0 bytes")
        packer = _OTHER_PACKERS.get(head)
        if packer:
            admission.stop(f"is packed with {packer}; use .tar, .tar.gz, .tgz or .zip")
        raw.seek(0)
        with _corrupt(admission, raw, form):
            if form is Form.ZIP:
                _unpack_zip(raw, target, admission, _overhead_limit(limits))
            else:
                _unpack_tar(raw, target, admission, _overhead_limit(limits), packed=head.startswith(MAGIC))


def _overhead_limit(limits: Limits) -> int:
    """Bytes of headers and directories that a well-meant archive of `limits.file_count` members can need."""
    return 1024 * 1024 + 4096 * limits.file_count


@contextmanager
def _corrupt(admission: Admission, raw: IO[bytes], form: Form) -> Iterator[None]:
    try:
        yield
    except EOFError:
        admission.stop("is cut short: the archive ends in the middle")
    except _PARSER_FAULTS as error:
        admission.stop(_something_else(raw, form) or f"is not a sound archive: {str(error) or type(error).__name__}")


def _something_else(raw: IO[bytes], form: Form) -> str | None:
    """What a file is that cannot be read as what its name says."""
    raw.seek(0)
    head = _read(raw, _BLOCK_BYTES)
    if form is Form.ZIP and (head.startswith(MAGIC) or head[_TAR_MAGIC] == b"ustar"):
        return f"is no zip but a tar archive; name it {'.tar.gz' if head.startswith(MAGIC) else '.tar'}"
    if form is not Form.ZIP and head.startswith(_ZIP_MAGIC):
        return "is no tar but a zip archive; name it .zip"
    if head.startswith(_EMPTY_ZIP):
        return _HOLDS_NOTHING
    return f"is no archive but text: {_first_line(head)!r}" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Whether a page of text was saved in place of the archive, say one that says "no such file"."""
    return not head.startswith(_ZIP_MAGIC) and not any(byte < ord(" ") and byte not in b"\t\n\r" for byte in head)


def _first_line(head: bytes) -> str:
    return head.strip().partition(b"\n")[0].decode("utf-8", "replace")[:_SHOWN].strip()


def _read(raw: IO[bytes] | Gunzip, size: int) -> bytes:
    try:
        return raw.read(size)
    except OSError as error:
        raise HarnessError(f"cannot read the archive: {error.strerror or error}") from error


class TarStream:
    """A forward-only reader of the (decompressed) tar. tarfile reads headers through it, and the contents of members
    are taken from it.

    Every byte counts against the bundle's cap; bytes that tarfile wants for headers count against `overhead_limit` too.
    """

    def __init__(self, raw: IO[bytes] | Gunzip, admission: Admission, overhead_limit: int) -> None:
        self._raw = raw
        self._admission = admission
        self._overhead_left = overhead_limit
        self._position = 0
        self.last_block = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        self._overhead_left -= size
        if size < 0 or self._overhead_left < 0:
            self._admission.stop("its headers are larger than any honest archive of so few files needs")
        self.last_block = b"".join(self.chunks(size))
        if _LONG_NUMBER in self.last_block.translate(_AS_DIGITS):
            self._admission.stop(f"is not a sound archive: a header has a number of {len(_LONG_NUMBER)} digits")
        return self.last_block

    def seek(self, position: int) -> None:
        if position < self._position:
            self._admission.stop("is not a sound archive: a header points backwards")
        for _ in self.chunks(position - self._position):
            pass

    def chunks(self, size: int) -> Iterator[bytes]:
        """Up to `size` bytes, less at the end of the stream."""
        while size > 0:
            chunk = _read(self._raw, min(size, CHUNK_BYTES))
            if not chunk:
                return
            self._position += len(chunk)
            self._admission.count_bytes(len(chunk))
            size -= len(chunk)
            yield chunk

    def whole(self, size: int) -> Iterator[bytes]:
        """Exactly `size` bytes. Raises `EOFError` when the stream ends before."""
        start = self._position
        yield from self.chunks(size)
        if self._position - start != size:
            raise EOFError

    def drain(self) -> None:
        """Read to the end, so that a checksum after the last member is checked."""
        while any(self.chunks(CHUNK_BYTES)):
            pass


def _unpack_tar(raw: IO[bytes], target: Path, admission: Admission, overhead_limit: int, *, packed: bool) -> None:
    unpacked = Gunzip(raw) if packed else raw
    stream = TarStream(unpacked, admission, overhead_limit)
    for member in tar_members(stream):
        path = admission.admit(member.name, is_folder=member.isdir())
        if path is None:
            continue
        if member.isdir():
            make_folder(target / path)
        elif not member.isreg() or member.issparse():
            admission.refuse(member.name, f"is {_kind(member)}; only plain files and folders are taken from an archive")
        else:
            pour(stream.whole(member.size), target / path)
    stream.drain()


def tar_members(stream: TarStream) -> Iterator[tarfile.TarInfo]:
    """The members in order, of which none is kept. Raises `EOFError` when no end-of-archive mark follows the last
    one."""
    with tarfile.TarFile(fileobj=cast("IO[bytes]", stream), encoding="utf-8", errors="surrogateescape") as tar:
        while (member := tar.next()) is not None:
            if member.size < 0:
                raise tarfile.ReadError("negative size")
            yield member
            cast("Any", tar).members.clear()  # tarfile would keep every header of the archive
    if stream.last_block != bytes(_BLOCK_BYTES):
        raise EOFError


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link to {member.linkname!r}"
    if member.isdev():
        return "a device or a pipe"
    return "a sparse file" if member.issparse() else f"a member of type {member.type!r}"


class _Guarded:
    """What zipfile reads its directory through: a read of more than `overhead_limit` at once is refused."""

    def __init__(self, raw: IO[bytes], admission: Admission, overhead_limit: int) -> None:
        self._raw = raw
        self._admission = admission
        self._overhead_limit = overhead_limit
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        wanted = max(0, self._size - self.tell()) if size < 0 else size
        if wanted > self._overhead_limit:
            self._admission.stop("its directory is larger than any honest archive of so few files needs")
        return _read(self._raw, wanted)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        if not 0 <= base + offset < 1 << 63:
            raise zipfile.BadZipFile("an offset points outside of the file")
        return self._raw.seek(base + offset)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True


def _unpack_zip(raw: IO[bytes], target: Path, admission: Admission, overhead_limit: int) -> None:
    guarded = cast("Any", _Guarded(raw, admission, overhead_limit))
    with zipfile.ZipFile(guarded) as packed:
        if not packed.infolist():  # some releases of zipfile fail at it
            admission.stop(_HOLDS_NOTHING)
        for member in packed.infolist():
            path = admission.admit(member.orig_filename, is_folder=member.is_dir())
            if path is None:
                continue
            fault = _zip_fault(member)
            if fault:
                admission.refuse(member.orig_filename, fault)
            elif member.is_dir():
                make_folder(target / path)
            else:
                _unpack_zip_member(packed, member, target / path, admission)


def _zip_fault(member: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a device, a pipe or a socket"
        return f"is {what}; only plain files and folders are taken from an archive"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted; pack it without a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed with zip method {member.compress_type}; only 0 (store) and 8 (deflate) are read"
    return None


def _unpack_zip_member(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, admission: Admission) -> None:
    """Copy one member. A fault in its data is its own problem: the others are still looked at."""
    before = admission.total_bytes
    try:
        with packed.open(member) as content:
            pour(admission.counted(iter(lambda: content.read(CHUNK_BYTES), b"")), path)
    except _PARSER_FAULTS as error:
        admission.refuse(member.orig_filename, f"cannot be unpacked: {str(error) or 'it is cut short'}")
        return
    if admission.total_bytes - before != member.file_size:
        admission.refuse(member.orig_filename, "holds less than its header says")
