"""Waiting for one thing until another one ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OverError(Exception):
    """What ends the waiting came first."""


async def until(
    waiting: Coroutine[Any, Any, T], over: Coroutine[Any, Any, object], timeout_s: float | None = None
) -> T:
    """What `waiting` answers or raises. Raises `OverError` when `over` ends first, `TimeoutError` when neither ends in
    time. Whatever is left of both is cancelled."""
    waits, ends = asyncio.ensure_future(waiting), asyncio.ensure_future(over)
    try:
        await asyncio.wait((waits, ends), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if waits.done():
            return waits.result()
        raise OverError if ends.done() else TimeoutError
    finally:
        waits.cancel()
        ends.cancel()
        await asyncio.gather(waits, ends, return_exceptions=True)
