"""Does an archive that appeared in place have its end? A cheap look, bounded in time and memory; unpacking judges."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

from daemon.intake import regular
from daemon.intake.gunzip import MAGIC, Gunzip
from daemon.intake.names import Form

_CHUNK_BYTES = 256 * 1024
_LOOK_LIMIT_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 512
_END_OF_TAR = bytes(2 * _BLOCK_BYTES)
_SIZE_FIELD = slice(124, 136)
_HEADER_LIMIT = 10_000
_ZIP_END_MAGIC = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_TAIL_BYTES = _ZIP_END_BYTES + 65535


def is_intact(path: Path, form: Form) -> bool:
    """True when the end of the archive is there. An archive of more than 16 MiB, packed or unpacked, is not looked
    through: False."""
    try:
        with regular.opened(path) as stream:
            return _zip_ends(stream) if form is Form.ZIP else _tar_ends(stream)
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile):
        return False


def _zip_ends(stream: IO[bytes]) -> bool:
    """The end record is the last thing in the file: nothing stands behind it but the comment it announces."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _ZIP_TAIL_BYTES))
    tail = stream.read(_ZIP_TAIL_BYTES)
    place = tail.rfind(_ZIP_END_MAGIC)
    if place < 0 or len(tail) - place < _ZIP_END_BYTES:
        return False
    comment_bytes = int.from_bytes(tail[place + _ZIP_END_BYTES - 2 : place + _ZIP_END_BYTES], "little")
    return len(tail) == place + _ZIP_END_BYTES + comment_bytes


def _tar_ends(stream: IO[bytes]) -> bool:
    packed = stream.read(2) == MAGIC
    stream.seek(0)
    return _packed_tar_ends(stream) if packed else _plain_tar_ends(stream)


def _plain_tar_ends(stream: IO[bytes]) -> bool:
    """There is an empty block where the next header would be: zeros inside a member do not count."""
    for _ in range(_HEADER_LIMIT):
        header = stream.read(_BLOCK_BYTES)
        if len(header) < _BLOCK_BYTES:
            return False
        if header == bytes(_BLOCK_BYTES):
            return True
        size_bytes = int(header[_SIZE_FIELD].strip(b" \0") or b"0", 8)
        stream.seek(-(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES, os.SEEK_CUR)
    return False


def _packed_tar_ends(stream: IO[bytes]) -> bool:
    """The stream decompresses to its end and ends in two empty blocks; gzip's own checksum has been checked by then."""
    if os.fstat(stream.fileno()).st_size > _LOOK_LIMIT_BYTES:
        return False
    unpacked = Gunzip(stream)
    tail, total = b"", 0
    while chunk := unpacked.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > _LOOK_LIMIT_BYTES:
            return False
        tail = (tail + chunk)[-len(_END_OF_TAR) :]
    return tail == _END_OF_TAR
