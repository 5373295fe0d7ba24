"""Recording work as a CUDA graph, and what a GPU has to have loaded for that before there is a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from typing import Any

import torch

from daemon.executor.inside.leaves import in_double

_WARM_UP_WORDS = 1024
_STEP_BYTES = 512  # what torch's allocator rounds up to
_PLACES = 128
_STRIDE = 49  # has no factor in common with `_PLACES`: every place comes up, and a few in turn are far apart


@contextmanager
def recorded(graph: torch.cuda.CUDAGraph, pool: Any, stream: Any) -> Iterator[None]:
    """As `torch.cuda.graph`, except that this does not give all cached memory back to the device: that takes a
    millisecond and more each time, and as much again for whoever allocates next."""
    torch.cuda.synchronize()
    with torch.cuda.stream(stream or _capture_stream()):
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            yield
        finally:
            graph.capture_end()


def warm_up(*, as_reference: bool) -> None:
    """Do once, before there is a kernel, all that is done around calls on a GPU. What a process uses for the first time
    has to be loaded, some 35 ms for each of torch's kernels, so this makes do with one. `as_reference`: also what only
    a reference is asked for, random inputs and calls in float64."""
    if as_reference:
        in_double(torch.randn(_WARM_UP_WORDS, device="cuda"))
    scratch, other = new_scratch("cuda"), new_scratch("cuda")
    graph, first, last = torch.cuda.CUDAGraph(), new_event(), new_event()
    with recorded(graph, None, None):
        launch_something(scratch)
        other.copy_(scratch)
    first.record()
    graph.replay()
    last.record()
    torch.cuda.synchronize()
    first.elapsed_time(last)


def at_changing_places(call: Callable[..., Any], device: str) -> Callable[..., Any]:
    """`call`, to be captured: from one call to the next, what it allocates for a while lies elsewhere.

    Torch would give every call of a graph the same memory, and the graphs of another process other memory. How long a
    kernel of a microsecond takes depends on which part of the L2 cache its data is in: a chain of forty took 43 to
    51 us by where its intermediate results lay, the same at each launch (H200). So two kernels that did the same were
    up to 16 % apart. Spread over 64 KiB they are within 1 or 2 %.
    """
    places = cycle([number * _STRIDE % _PLACES for number in range(_PLACES)])

    def moved(*args: Any) -> Any:
        in_the_way = torch.empty(next(places) * _STEP_BYTES, dtype=torch.uint8, device=device)
        value = call(*args)
        del in_the_way
        return value

    return moved


@cache
def _capture_stream() -> Any:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def new_scratch(device: str) -> torch.Tensor:
    return torch.zeros(1, device=device)


def launch_something(scratch: torch.Tensor) -> None:
    """A small kernel that every cell has loaded: the one that made `scratch`."""
    scratch.fill_(0)


def new_event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
