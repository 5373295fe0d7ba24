"""Cursors that can be pasted into a URL as they are: those of the database, in base64url without padding."""

from __future__ import annotations

import base64
import binascii


def token_of(cursor: str) -> str:
    """The token that stands for a cursor of the database."""
    return base64.urlsafe_b64encode(cursor.encode()).decode("ascii").rstrip("=")


def cursor_of(token: str) -> str:
    """The database's cursor that a token stands for. What is not a token is returned as it is, for the database to
    refuse."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return token
