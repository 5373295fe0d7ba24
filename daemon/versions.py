"""What is installed, without importing it."""

from __future__ import annotations

import importlib.metadata


def version_of(distribution: str) -> str | None:
    """The installed version of a Python distribution; None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def evald_version() -> str:
    """Our own version; "unknown" where evald runs without having been installed."""
    return version_of("evald") or "unknown"
