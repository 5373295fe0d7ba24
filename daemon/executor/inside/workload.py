"""What the judge asks of a cell: unpack, build, load, construct, exchange tensors, run over the arena's slots."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from daemon.executor.inside import module_state, packing, preloading
from daemon.executor.inside.attachments import Attachments
from daemon.executor.inside.exchange import Exchange, settle
from daemon.executor.inside.loading import compiled, unpack
from daemon.executor.inside.recording import at_changing_places, warm_up
from daemon.executor.inside.seeding import seed_all, seed_devices
from daemon.executor.inside.slots import Slots, Work
from daemon.executor.inside.subject import Subject
from daemon.executor.inside.unlike import first_difference
from daemon.executor.shared import tree
from daemon.executor.shared.protocol import Message, unpacked
from daemon.executor.source import KernelFault

_TAKEN_FROM = {
    "inputs": "in what get_inputs() returned",
    "init": "in what get_init_inputs() returned",
    "state": "in the module's state",
    "outputs": "in what the call returned",
    "exact": "in what the call returned",
}
_MADE_BY = {"inputs": "get_inputs()", "init": "get_init_inputs()"}
_ROOT = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - the cell's private tmpfs


class Workload:
    """State of one cell between messages. `folder` is where the bundle's files lie."""

    def __init__(
        self,
        *,
        threads: int,
        backend_paths: list[Path],
        device: str,
        tell: Callable[[Message], None],
        as_reference: bool = False,
        under_tool: bool = False,
    ) -> None:
        """`tell` sends the judge a word ahead of the answer. `as_reference`: see `warm_up`."""
        self._tell = tell
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._backend_paths = backend_paths
        self._device = device
        self._under_tool = under_tool
        if device != "cpu":  # starting the device must not count as the kernel's time, nor be seen by a tool
            torch.zeros(1, device=device) if under_tool else warm_up(as_reference=as_reference)
        self._exchange = Exchange(device, under_tool=under_tool)
        self.folder = _ROOT / "bundle"
        self._subject = Subject(device, self.folder)
        self._attachments = Attachments()
        self._returned = True
        self._draws = False  # whether the call whose answer was described drew random numbers
        self._described: dict[str, tuple[tree.Node, list[Message]]] = {}
        self._preloading = preloading.steps(device)

    @staticmethod
    @cache
    def versions() -> dict[str, str | None]:
        """What runs here, for the result's `environment`. Looked up in files: once, before cells are forked."""
        triton = importlib.util.find_spec("triton")
        return {
            "torch": torch.__version__,
            "triton": importlib.metadata.version("triton") if triton else None,
            "python": platform.python_version(),
        }

    def handle(self, message: Message, fds: list[int]) -> Message:
        """Answer one message. Raises `KernelFault` for what the bundle did wrong."""
        handler: Callable[[Message, list[int]], Message] = getattr(self, f"_on_{message['type']}")
        return handler(message, fds)

    def _on_preload(self, _message: Message, _fds: list[int]) -> Message:
        """One step more of what can be loaded before there is a kernel; `left` False: that was all."""
        return {"type": "preloaded", "left": next(self._preloading, self) is None}

    # -- sources ------------------------------------------------------------------------------------------------

    def _on_build(self, message: Message, fds: list[int]) -> Message:
        """Compile, then hand back what was built as a tar in the memfd `fds[1]` (as large as `capacity`)."""
        backend, source = unpack(message, fds, self.folder, self._backend_paths)
        described = compiled(backend.build, source) or {}
        packed = packing.packed(source.artifacts)
        if len(packed) > message["capacity"]:
            raise KernelFault("compile_error", f"the build left {len(packed)} bytes; {message['capacity']} are allowed")
        os.pwrite(fds[1], packed, 0)
        return {"type": "built", "artifact_bytes": len(packed), "describe": described}

    @staticmethod
    def _on_precompile(message: Message, fds: list[int]) -> Message:
        """Make torch's precompiled header, in a cell that never gets a bundle: the header into `fds[0]`, what it was
        made from into `fds[1]`."""
        from daemon.executor.backends import _torch_header

        _torch_header.precompile(
            message["text"], message["level"], with_cuda=message["with_cuda"], header_fd=fds[0], manifest_fd=fds[1]
        )
        return {"type": "precompiled"}

    def _on_load(self, message: Message, fds: list[int]) -> Message:
        backend, source = unpack(message, fds, self.folder, self._backend_paths)
        self._subject.loaded = kernel = compiled(backend.load, source)
        shutil.rmtree(source.artifacts, ignore_errors=True)
        return {
            "type": "loaded",
            "makes_inputs": kernel.make_inputs is not None,
            "guesses_inputs": kernel.guesses_inputs,
            "parameters": kernel.parameters,
            "makes_init_inputs": kernel.make_init_inputs is not None,
            "constructs": kernel.construct is not None,
            "describe": kernel.describe,
            "notes": kernel.notes,
        }

    def _on_construct(self, message: Message, fds: list[int]) -> Message:
        """Make the module, seeded; `init` is a tree of constructor arguments or None for the source's own."""
        if self._subject.kernel.construct is None:
            return {"type": "constructed"}
        if message["init"] is not None:
            given = tree.decode(message["init"], self._exchange.take_in(message, fds).__getitem__)
        else:
            given = self._subject.init_inputs(message["seed"])
        self._subject.construct(given, message["seed"])
        return {"type": "constructed", "lazy": module_state.lazy_names(self._subject.instance)}

    # -- tensors out and in -------------------------------------------------------------------------------------

    def _on_export(self, message: Message, _fds: list[int]) -> Message:
        """Describe inputs, init inputs, state, or the outputs of one call, exact or not. `write` then copies the
        tensors out. `announce`: say when all there is to do is launched, and wait for the device then. (An answer may
        be computed only when it is looked at.)"""
        what = message["what"]
        value = getattr(self, f"_export_{what}")(message)
        try:
            node, shapes = self._described[what] = self._describe(value, what)
        except KernelFault as fault:
            if what != "init":
                raise
            return {"type": "exported", "refused": fault.message}  # the judge knows another way
        if message["announce"]:
            self._announce()
            self._subject.guarded(lambda: settle(self._device), "in the call")
        return {
            "type": "exported",
            "tree": node,
            "tensors": shapes,
            "returned": self._returned,
            "draws": self._draws,
        }

    def _describe(self, value: Any, what: str) -> tuple[tree.Node, list[Message]]:
        is_answer = what in ("outputs", "exact")
        try:
            described: tuple[tree.Node, list[Message]] = self._subject.guarded(
                lambda: self._exchange.describe(value, as_answer=is_answer), _TAKEN_FROM[what]
            )
        except tree.Incomparable as problem:
            verdict = "wrong_answer" if is_answer else "runtime_error"
            raise KernelFault(verdict, f"{_MADE_BY.get(what, what)}: {problem}") from problem
        return described

    def _on_produce(self, message: Message, fds: list[int]) -> Message:
        """get_inputs() once per seed, all sets one after the other in the memory, each as it was described before."""
        with self._exchange.mapped(message["memory"], fds) as memory:
            offset = 0
            for seed in message["seeds"]:
                found = self._describe(self._export_inputs({"seed": seed}), "inputs")
                if found != self._described["inputs"]:
                    return {
                        "type": "produced",
                        "same": False,
                        "where": first_difference(self._described["inputs"], found),
                    }
                offset = self._exchange.write(memory, offset)
        return {"type": "produced", "same": True}

    def _export_inputs(self, message: Message) -> Any:
        return self._subject.inputs(message["seed"])

    def _export_init(self, message: Message) -> Any:
        return self._subject.init_inputs(message["seed"])

    def _export_state(self, message: Message) -> Any:
        return module_state.shareable_state(self._subject.instance, message["only"])

    def _export_outputs(self, message: Message) -> Any:
        """One call on slot 0's inputs, to learn what comes back."""
        slots = self._attachments.slots()
        try:
            value, self._returned, self._draws = self._subject.answer(slots, message["seed"])
        except KernelFault as fault:
            fault.message += self._one_dict(slots.argument_tree, fault.__cause__)
            raise
        return value

    def _one_dict(self, args: tree.Node, error: BaseException | None) -> str:
        """A remark that a dict was one argument, where whoever wrote the source seems to have meant one for each of its
        keys."""
        given, wanted = args.get("u", ()), self._subject.kernel.parameters
        if not isinstance(error, TypeError) or len(given) != 1 or "d" not in given[0] or not wanted:
            return ""
        keys = [str(key) for key, _ in given[0]["d"]]
        if not set(wanted) <= set(keys):
            return ""
        return f" (the dict that get_inputs() gives is one argument: let it give a list of {', '.join(keys)})"

    def _export_exact(self, _message: Message) -> Any:
        """The same in float64."""
        value, self._returned = self._subject.exact_answer(self._attachments.slots())
        return value

    def _on_let_go(self, _message: Message, _fds: list[int]) -> Message:
        self._exchange.let_go()
        return {"type": "let_go"}

    def _on_write(self, message: Message, fds: list[int]) -> Message:
        with self._exchange.mapped(message["memory"], fds) as memory:
            self._exchange.write(memory, 0)
        return {"type": "written"}

    def _on_adopt(self, message: Message, fds: list[int]) -> Message:
        """Copy the reference's state into this module where names and shapes match."""
        if not isinstance(self._subject.instance, torch.nn.Module):
            return {"type": "adopted", "copied": 0, "theirs": [], "own": [], "other": []}
        given = tree.decode(message["tree"], self._exchange.take_in(message, fds).__getitem__)
        copied, left = module_state.adopt(self._subject.instance, given)
        return {"type": "adopted", "copied": copied, **left}

    # -- the arena ----------------------------------------------------------------------------------------------

    def _on_attach(self, message: Message, fds: list[int]) -> Message:
        self._attachments.attach(message, fds)
        return {"type": "attached"}

    def _on_isolate(self, message: Message, fds: list[int]) -> Message:
        """As `attach`, for a call under a tool: in memory of this process alone."""
        self._attachments.isolate(message, fds)
        return {"type": "isolated"}

    def _on_call(self, message: Message, _fds: list[int]) -> Message:
        """Call the kernel on the first slot; with `bracket` between cudaProfilerStart and Stop. The answer goes
        nowhere. A fault is answered as `error`: the tool above may have something to say of it, and must come to its
        end."""
        slots, call = self._attachments.slots(), self._subject.kernel.call
        bracket = message["bracket"] and self._device != "cpu"
        for number in range(message["calls"]):
            seed_all(message["seed"] + number)
            if bracket:
                torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
            try:
                self._subject.guarded(lambda: slots.answer(call), "in the call")
                self._subject.guarded(lambda: settle(self._device), "in the call")
                if bracket:
                    torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
            except KernelFault as fault:
                return {"type": "called", "error": f"{fault.verdict}: {fault.message}"[:2000]}
        return {"type": "called", "error": None}

    def _on_detach(self, _message: Message, _fds: list[int]) -> Message:
        self._attachments.detach_all()
        return {"type": "detached"}

    def _work(self, message: Message) -> tuple[Slots, Work]:
        """What one round does, and where: the kernel's calls, or what the null candidate has in their place."""
        if (null := message["null"]) is None:
            slots, call = self._attachments.slots(), self._subject.kernel.call
            return slots, slots.calls(at_changing_places(call, self._device) if message["type"] == "capture" else call)
        slots = self._attachments.slots(null["arena"])
        return slots, slots.null(null["kind"], null["cycles"])

    def _on_capture(self, message: Message, _fds: list[int]) -> Message:
        """Record the calls on the slots of `order`. Not every kernel lets itself be captured: `reason` says why.

        If a call puts a tensor into its module, and the next one reads it, it would be the same at the beginning of
        every launch. So where calls put something there, they are captured once more without it.
        """
        left: list[str] = []
        try:
            attributes = module_state.Attributes(self._subject.instance)
            if left := self._record(message, attributes):
                attributes.take_away(left)
                self._record(message, attributes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the kernel is then timed call by call
            why = f"every call needs what the one before has made and kept as {', '.join(left)}: " if left else ""
            return {"type": "captured", "reason": f"{why}{type(error).__name__}: {error}"[:2000]}
        return {"type": "captured", "reason": None}

    def _record(self, message: Message, attributes: module_state.Attributes) -> list[str]:
        """Capture the calls. Returns the attributes of the module that they have replaced, which hold again what they
        held before."""
        slots, work = self._work(message)
        seed_all(message["seed"])
        try:
            slots.capture(work, message["order"], self._subject.stream, message["graph"])
        finally:
            left = attributes.put_back()
        return left

    def _on_run(self, message: Message, _fds: list[int]) -> Message:
        """Call the kernel once per slot, in the order that is given; or launch what was captured."""
        slots, work = self._work(message)
        if message["replay"]:
            # What a graph draws goes by the generators as they are at its launch. Seeded at the capture alone, a kernel
            # could work out a round's numbers before the clock starts.
            seed_devices(message["seed"])
            inside_s = self._subject.guarded(lambda: slots.replay(message["graph"]), "in the call")
        else:
            seed_all(message["seed"])
            order, launched = unpacked(message["order"]), self._announce if message["announce"] else None
            inside_s = self._subject.guarded(lambda: slots.run(work, order, launched), "in the call")
        return {"type": "done", "inside_s": inside_s}

    def _announce(self) -> None:
        self._tell({"type": "launched"})

    def _on_report(self, _message: Message, _fds: list[int]) -> Message:
        """What the backend knows of the kernel now that it has been called."""
        report = self._subject.kernel.report
        return {"type": "reported", "describe": self._subject.guarded(report, "reporting") if report else {}}
