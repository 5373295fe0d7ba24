"""Words that a contract has a few of, and what people write in their place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Word(StrEnum):
    """One of a few words. Other spellings are never accepted, only understood well enough to say what to write
    instead."""

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        """By value, what is written instead, in lower case."""
        return {}

    @classmethod
    def remarks(cls) -> Mapping[str, str]:
        """By what is written instead, what more there is to write."""
        return {}

    @classmethod
    def meant(cls, written: str) -> str | None:
        """The word that goes by this nickname."""
        return next((value for value, names in cls.nicknames().items() if written.lower() in names), None)
