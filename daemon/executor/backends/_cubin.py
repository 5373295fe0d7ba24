"""What the symbol table of a cubin says, and what C++ names in it mean.

A cubin is a 64-bit little-endian ELF file; entry functions carry STO_CUDA_ENTRY in `st_other` (cuda.h's companion
`elf.h` of the CUDA binary utilities; seen in the output of nvcc and NVRTC 13.0).
"""

from __future__ import annotations

import ctypes
import functools
import struct

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _FUNCTION, _CUDA_ENTRY = 2, 2, 0x10


def entry_symbols(cubin: bytes) -> list[str]:
    """Names of the kernels in `cubin`. Raises ValueError where it is not such a file."""
    if cubin[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF file")
    try:
        sections = _sections(cubin)
        return [name for table in sections if table[1] == _SYMTAB for name in _entries(cubin, table, sections)]
    except (struct.error, IndexError) as error:
        raise ValueError("a damaged ELF file") from error


def _sections(cubin: bytes) -> list[tuple[int, ...]]:
    header = _HEADER.unpack_from(cubin)
    offset, size, count = header[6], header[11], header[12]
    return [_SECTION.unpack_from(cubin, offset + index * size) for index in range(count)]


def _entries(cubin: bytes, table: tuple[int, ...], sections: list[tuple[int, ...]]) -> list[str]:
    offset, size, names = table[4], table[5], sections[table[6]][4]
    found = []
    for position in range(offset, offset + size, _SYMBOL.size):
        name, info, other, *_ = _SYMBOL.unpack_from(cubin, position)
        if info & 0xF == _FUNCTION and other & _CUDA_ENTRY:
            start = names + name
            found.append(cubin[start : cubin.index(b"\0", start)].decode())
    return found


@functools.cache
def _cxxabi() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    library = ctypes.CDLL("libstdc++.so.6")
    library.__cxa_demangle.restype = ctypes.c_void_p
    library.__cxa_demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    return library, libc


def demangle(symbol: str) -> str:
    """The C++ declaration behind `symbol`; the symbol itself where it is a plain name."""
    library, libc = _cxxabi()
    status = ctypes.c_int()
    text = library.__cxa_demangle(symbol.encode(), None, None, ctypes.byref(status))
    if not text:
        return symbol
    try:
        return ctypes.string_at(text).decode()
    finally:
        libc.free(text)


def split_list(text: str) -> list[str]:
    """Split at the commas that stand in no bracket of `text`: the items of a parameter or template argument list."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    return [*items, text[start:].strip()] if text.strip() else []
