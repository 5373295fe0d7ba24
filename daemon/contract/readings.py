"""What a source looks like it does, read off its text, for the words of a warning or a hint. It decides nothing: a text
may say one thing and do another."""

from __future__ import annotations

import re

_MODEL = re.compile(r"^class\s+ModelNew\b", re.MULTILINE)
_TUNED = re.compile(r"^[ \t]*@(?:triton\.)?autotune\b", re.MULTILINE)
_ATOMIC = re.compile(r"\batomic_?(add|sub|inc|dec|max|min|and|or|xor|cas)\b", re.IGNORECASE)
_EXTENSION = re.compile(
    r"^[ \t]*(from|import)[ \t]+torch\.utils(\.cpp_extension\b|[ \t]+import[ \t].*\bcpp_extension\b)", re.MULTILINE
)


def defines_model(text: str) -> bool:
    """A `ModelNew`, which is a module of torch."""
    return _MODEL.search(text) is not None


def compiles_extension(text: str) -> bool:
    return _EXTENSION.search(text) is not None


def is_autotuned(text: str) -> bool:
    """A Triton kernel that picks its configuration itself."""
    return _TUNED.search(text) is not None


def updates_in_place(text: str) -> bool:
    """A device's kernel that adds to what is there already."""
    return _ATOMIC.search(text) is not None


def imports(text: str, module: str) -> bool:
    return re.search(rf"^[ \t]*(?:from|import)[ \t]+{re.escape(module)}\b", text, re.MULTILINE) is not None
