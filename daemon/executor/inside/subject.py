"""The kernel of one cell: its module, what it makes by itself, its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from daemon.executor.inside import module_state
from daemon.executor.inside.seeding import seed_all, states
from daemon.executor.inside.slots import Slots
from daemon.executor.inside.unrounded import Unrounded
from daemon.executor.shared import tree
from daemon.executor.source import Kernel, KernelFault, fault_from

_AGAIN_WITHIN_S = 4.0  # the judge waits ten seconds for an answer in float64


class Subject:
    """What is judged, from its backend's answer to `load` on. `device`: where new tensors of the source are made;
    `folder`: where its files lie, for tracebacks. Everything raises `KernelFault` for what the bundle did wrong."""

    def __init__(self, device: str, folder: Path) -> None:
        self._device = device
        self._folder = folder
        self.loaded: Kernel | None = None
        self.instance: Any = None

    @property
    def kernel(self) -> Kernel:
        if self.loaded is None:
            raise KernelFault("harness_error", "no kernel is loaded")
        return self.loaded

    @property
    def stream(self) -> Any:
        """The stream on which its calls are captured, if it asks for one. None where there is no kernel."""
        return None if self.loaded is None else self.loaded.stream

    def guarded(self, function: Callable[[], Any], doing: str) -> Any:
        """What `function` answers. Whatever it raises is the kernel's doing."""
        try:
            return function()
        except (KernelFault, tree.Incomparable):
            raise
        except BaseException as error:
            raise fault_from(error, self._folder, "runtime_error", doing) from error

    def construct(self, given: Any, seed: int) -> None:
        """Make the module, seeded. `given`: a list of the constructor's arguments, or a dict of them by name."""
        seed_all(seed)
        args, kwargs = ([], given) if isinstance(given, dict) else (list(given), {})
        construct = self.kernel.construct
        if construct is None:
            raise KernelFault("harness_error", "the source has nothing to be constructed")
        with self._on_device():
            self.instance = construct(args, kwargs)
        if self._device != "cpu" and isinstance(self.instance, torch.nn.Module):
            self.instance.to(self._device)

    def init_inputs(self, seed: int) -> Any:
        """The constructor's arguments as the source makes them; none where it does not."""
        make = self.kernel.make_init_inputs
        seed_all(seed)
        with self._on_device():
            made = make() if make else []
        if not isinstance(made, list | tuple | dict):
            kind = type(made).__name__
            raise KernelFault("runtime_error", f"get_init_inputs() returned {kind}: return a list of the arguments")
        return made

    def inputs(self, seed: int) -> Any:
        """The arguments of a call as the source makes them."""
        make = self.kernel.make_inputs
        if make is None:
            raise KernelFault("runtime_error", "the source has no get_inputs() and the contract has no io")
        seed_all(seed)
        with self._on_device():
            return self.guarded(make, "in get_inputs()")

    def answer(self, slots: Slots, seed: int) -> tuple[Any, bool, bool]:
        """The answer of one call on slot 0's inputs; whether it was returned (else it is in arguments); and whether the
        call drew random numbers."""
        seed_all(seed)
        before = states()
        value, is_returned = self.guarded(lambda: slots.answer(self.kernel.call), "in the call")
        return value, is_returned, states() != before

    def exact_answer(self, slots: Slots) -> tuple[Any, bool]:
        """The same with every float a float64: the module's, the arguments', and new ones', and what the source rounds,
        unless that cannot be run. A call that fails slowly is not tried again: the judge would not wait for it. The
        cell is of no other use afterwards."""
        module_state.make_float64(self.instance)

        def call() -> tuple[Any, bool]:
            return slots.answer(self.kernel.call, exact=True)

        answer: tuple[Any, bool]
        began_s = time.monotonic()
        try:
            with Unrounded():  # type: ignore[no-untyped-call]
                answer = self.guarded(call, "in float64")
        except KernelFault:
            if time.monotonic() - began_s > _AGAIN_WITHIN_S:
                raise
            answer = self.guarded(call, "in float64")
        return answer

    def _on_device(self) -> AbstractContextManager[Any]:
        """New tensors of the source on the GPU, where there is one: drawing gigabytes on a CPU takes seconds."""
        return nullcontext() if self._device == "cpu" else torch.device(self._device)
