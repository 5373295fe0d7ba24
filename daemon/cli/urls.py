"""Addresses of databases, fit to be shown."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<=://)([^:/]*):[^@]*@")
_PASSWORD_APART = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """`url`, or whatever else was typed in its place, with every password as `***`."""
    return _PASSWORD_APART.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
