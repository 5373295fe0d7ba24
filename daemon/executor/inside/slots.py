"""The cell's view of the arena: for every slot, the arguments of one call and the places its outputs go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import torch

from daemon.executor.inside.leaves import in_double, leaf_of_answer
from daemon.executor.inside.mapping import Apart, Mapping
from daemon.executor.inside.recording import launch_something, new_event, new_scratch, recorded
from daemon.executor.inside.untouched import holds_the_same, is_changed, nested_anew
from daemon.executor.shared import tree
from daemon.executor.shared.protocol import Message
from daemon.executor.source import KernelFault

Work = Callable[[list[int]], None]  # what is done to slots, in order
_ZEROS: WeakValueDictionary[Any, torch.Tensor] = WeakValueDictionary()


class Slots:
    """Tensors over shared memory, and the calls on them: one by one, or captured as a CUDA graph and launched at once.

    `message`: `slots`, `stride`, `fields` (dtype, shape, offset inside the slot), `args` (a tree over fields),
    `outputs` (fields that a returned value is copied into, in leaf order), `returns` (whether the answer is the
    return value), `structure` (the expected nesting), `blank` (fields that hold nothing until they are written),
    `names` (what each output is called), `output_args` (fields that are the answer where nothing is returned).
    """

    def __init__(self, memory: Mapping | Apart, message: Message) -> None:
        self._memory = memory
        self._message = message
        self._returns: bool = message["returns"]
        self._args: list[list[Any]] = []
        self._nesting: list[Any] = []  # the same in lists and dicts that no kernel sees
        self._meddles: bool | None = None  # with its arguments' gradients, shapes, lists: known after the first calls
        self._fields: list[list[torch.Tensor]] = []
        self._given: list[list[torch.Tensor]] = []  # what fields are made of, and no kernel sees
        self._outputs: list[list[torch.Tensor]] = []
        self._blank: list[list[torch.Tensor]] = []
        for slot in range(message["slots"]):
            origin = slot * message["stride"]
            self._given.append([self._tensor(field, origin) for field in message["fields"]])
            for known in (self._fields, self._args, self._nesting, self._outputs, self._blank):
                known.append([])
            self._lay_out(slot)
        self._scratch = new_scratch(memory.device)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._events: tuple[Any, Any] | None = None
        if memory.device == "cuda":
            self._events = (new_event(), new_event())

    @property
    def argument_tree(self) -> tree.Node:
        """How the arguments of a call are nested."""
        args: tree.Node = self._message["args"]
        return args

    def _tensor(self, field: dict[str, Any], origin: int) -> torch.Tensor:
        return self._memory.tensor(getattr(torch, field["dtype"]), field["shape"], origin + field["offset"])

    def calls(self, call: Callable[..., Any]) -> Work:
        """`call` on every slot of an order, answers stored in the slots."""
        return lambda order: self._call_all(call, order, stored=self._returns)

    def null(self, kind: str, cycles: int) -> Work:
        """What the null candidate does where calls would be (`side.NullKernel`). `cycles`: of a GPU's clock."""
        if kind == "work":
            return lambda order: self._look_busy(order, cycles)
        if kind == "touch":
            return lambda order: self._call_all(lambda *_: self._scratch.add_(0), order, stored=False)
        if kind == "copy":
            self._zeros  # noqa: B018 - made now, in no round
            return lambda order: self._call_all(lambda *_: self._zeros, order, stored=True)
        return self._look_around

    def _look_around(self, order: list[int]) -> None:
        """The bare loop; and one launch, where there is a GPU: what turns to another process's kernels takes a while,
        and every kernel's round has that in it."""
        self._call_all(lambda *_: None, order, stored=False)
        if self._events is not None:
            self._scratch.add_(0)

    @cached_property
    def _zeros(self) -> Any:
        """An answer of the right nesting. Kept: a captured graph goes on copying it."""
        return _filled(self._message["structure"], iter([_zeros_like(output) for output in self._outputs[0]]))

    def _look_busy(self, order: list[int], cycles: int) -> None:
        for slot in order:
            for output in self._blank[slot]:
                output.zero_()
        torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]

    def answer(self, call: Callable[..., Any], *, exact: bool = False) -> tuple[Any, bool]:
        """Call on the first slot's inputs, `exact`: as float64. The return value and True, or the output arguments and
        False where it returned None."""
        wide = [in_double(field) for field in self._fields[0]] if exact else None
        args = self._args[0] if wide is None else tree.decode(self._message["args"], wide.__getitem__)
        value = call(*args)
        self._restore([0])
        if value is None and self._message["output_args"]:
            fields = self._fields[0] if wide is None else wide
            return tuple(fields[index] for index in self._message["output_args"]), False
        return value, True

    def run(self, work: Work, order: list[int], launched: Callable[[], None] | None = None) -> float | None:
        """`work` on the slots of `order`, the device idle again. This is what is timed. Returns what this process's own
        clock says, seconds. `launched` is called when all that is left is to wait for the device."""
        return self._to_the_end(lambda: work(order), launched)

    def _call_all(self, call: Callable[..., Any], order: list[int], *, stored: bool) -> None:
        for slot in order:  # no answer is kept until the next is there: that would tie the next one to its place
            if stored:
                self._store(call(*self._args[slot]), slot)
            else:
                call(*self._args[slot])
        self._restore(order)

    def _restore(self, order: list[int]) -> None:
        """Put arguments back as they came, for the next call on the same slots. A kernel that asks for the gradient of
        an argument must not find it there and add to it; one that turns or unsqueezes an argument in place must not do
        so twice; one that empties a list must find it full. A kernel whose first calls leave its arguments alone is not
        looked after any more."""
        if self._meddles is False or not order:
            return
        changed = [slot for slot in order if self._is_touched(slot)]
        for slot in changed:
            self._lay_out(slot)
        self._meddles = self._meddles or bool(changed)

    def _is_touched(self, slot: int) -> bool:
        if any(map(is_changed, self._fields[slot], self._given[slot])):
            return True
        return not holds_the_same(self._args[slot], self._nesting[slot])

    def _lay_out(self, slot: int) -> None:
        """New tensors over the memory of a slot, and the arguments made of them. A tensor that somebody has kept stays
        as it is: it may be the answer."""
        fields = self._fields[slot] = [given.detach() for given in self._given[slot]]
        self._args[slot] = tree.decode(self._message["args"], fields.__getitem__)
        self._nesting[slot] = nested_anew(self._args[slot])
        self._outputs[slot] = [fields[index] for index in self._message["outputs"]]
        self._blank[slot] = [fields[index] for index in self._message["blank"]]

    def _to_the_end(self, work: Callable[[], None], launched: Callable[[], None] | None = None) -> float | None:
        """Do it and wait for it. Returns seconds by CUDA events on a GPU; None where the kernel has made these
        useless."""
        if self._events is None:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        first, last = self._events
        first.record()
        work()
        last.record()
        if launched is not None:
            launched()
        last.synchronize()  # not the device: that waits for other streams, and for what is launched meanwhile
        try:
            return float(first.elapsed_time(last)) / 1e3
        except (RuntimeError, TypeError, ValueError):
            return None

    def capture(self, work: Work, order: list[int], stream: Any, number: int) -> None:
        """Record `work` as the CUDA graph `number`; nothing runs. Raises whatever makes that impossible."""
        graph = torch.cuda.CUDAGraph()
        # Graphs never run at the same time, and hand nothing on: they can share one pool of memory.
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        if pool is None:  # what is cached outside of one cannot be used in it
            torch.cuda.empty_cache()
        try:
            with recorded(graph, pool, stream):
                # A graph without nodes cannot be launched: the null candidate's, or an empty batch's.
                launch_something(self._scratch)
                work(order)
        except BaseException:
            self._draw_without_a_graph_again()
            raise
        self._graphs[number] = graph

    def _draw_without_a_graph_again(self) -> None:
        """Draw once, to end what a capture left behind that did not come to its end: torch's generators (2.11's) stay
        as they are during one, and whoever draws is told "Offset increment outside graph capture"."""
        with suppress(RuntimeError), recorded(torch.cuda.CUDAGraph(), None, None):
            launch_something(self._scratch)

    def replay(self, number: int) -> float | None:
        """Launch what was captured and wait for it: as `run`."""
        if number not in self._graphs:
            raise KernelFault("harness_error", "no graph was captured")
        return self._to_the_end(self._graphs[number].replay)

    def forget(self) -> None:
        """Let go of the graphs and of every tensor over the memory."""
        self._graphs = {}
        self.__dict__.pop("_zeros", None)
        self._args, self._nesting, self._fields, self._given, self._outputs, self._blank = [], [], [], [], [], []

    def _store(self, value: Any, slot: int) -> None:
        outputs = self._outputs[slot]
        if type(value) is torch.Tensor and self._message["structure"] == "*" and _same(value, outputs[0]):
            outputs[0].copy_(value)
            return
        found = self._leaves(value)
        for target, leaf, name in zip(outputs, found, self._message["names"], strict=True):
            _require_same(target, leaf, name)
            # A copy of host memory waits for the device, and no graph can be captured with it in.
            (target.fill_ if leaf.dim() == 0 and leaf.device.type == "cpu" else target.copy_)(leaf)

    def _leaves(self, value: Any) -> list[torch.Tensor]:
        """The answer's tensors in order, its nesting checked against the expected one."""
        found: list[torch.Tensor] = []

        def leaf(item: Any) -> tree.Node | None:
            if (tensor := leaf_of_answer(item)) is None:
                return None
            found.append(tensor)
            return {"t": len(found) - 1}

        try:
            node = tree.encode(value, leaf, named=False)
        except tree.Incomparable as problem:
            raise KernelFault("wrong_answer", f"the answer cannot be compared: {problem}") from problem
        if tree.shape_of(node) != self._message["structure"]:
            raise KernelFault(
                "wrong_answer",
                f"the answer is nested differently: expected {tree.in_words(self._message['structure'])}, "
                f"got {tree.in_words(tree.shape_of(node))}",
            )
        return found


def _zeros_like(output: torch.Tensor) -> torch.Tensor:
    """The zeros of another arena, where it has some of this kind: answers may be as large as fit the device twice."""
    kind = (output.shape, output.dtype, output.device)
    if (zeros := _ZEROS.get(kind)) is None:
        zeros = _ZEROS[kind] = torch.zeros_like(output)
    return zeros


def _filled(structure: Any, ready: Iterator[torch.Tensor]) -> Any:
    if isinstance(structure, dict):
        return dict(zip(structure["keys"], [_filled(item, ready) for item in structure["items"]], strict=True))
    if isinstance(structure, list):
        return [_filled(item, ready) for item in structure]
    return None if structure is None else next(ready)


def _same(value: torch.Tensor, target: torch.Tensor) -> bool:
    return value.shape == target.shape and value.dtype == target.dtype and value.layout is torch.strided


def _require_same(target: torch.Tensor, leaf: torch.Tensor, name: str) -> None:
    if leaf.shape != target.shape:
        shapes = f"expected {list(target.shape)}, got {list(leaf.shape)}"
        hint = "the first call answered in the other one, and only one shape can be judged: pad it"
        raise KernelFault("wrong_answer", f"shape of {name}: {shapes}; {hint}")
    if leaf.dtype != target.dtype:
        expected, got = (str(dtype).removeprefix("torch.") for dtype in (target.dtype, leaf.dtype))
        raise KernelFault("wrong_answer", f"dtype of {name}: expected {expected}, got {got}")
