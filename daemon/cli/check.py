"""One line of `evald doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """One line of the doctor. `hint`: what to type or change."""

    name: str
    status: Status
    message: str
    hint: str | None = None
