"""What a kernel type gets, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """One kernel as it lies in the cell. `metadata` and `launch` are the contract's, symbols resolved."""

    path: Path
    folder: Path
    artifacts: Path
    side: str
    device: str
    metadata: dict[str, Any]
    args: tuple[dict[str, Any], ...] = ()
    launch: dict[str, Any] = field(default_factory=dict)
    requires: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""  # compute capability of the GPU it will run on ("9.0"), empty where it will run on a CPU

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8-sig")  # Python too takes a byte order mark for none of the text


@dataclass
class Kernel:
    """Something that can be called. `make_inputs` and `construct` only where the source has something for them.

    `guesses_inputs`: `make_inputs` was derived from a signature; anything the contract says stands above it.
    `parameters`: the names a call requires, in order, where Python can tell. On a GPU a call only queues work: the
    caller waits for the device.
    """

    call: Callable[..., Any]
    make_inputs: Callable[[], Any] | None = None
    make_init_inputs: Callable[[], Any] | None = None
    construct: Callable[[list[Any], dict[str, Any]], Any] | None = None  # returns the nn.Module, if it is one
    guesses_inputs: bool = False
    parameters: list[str] | None = None
    describe: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    report: Callable[[], dict[str, Any]] | None = None  # what only calls tell, say the config that tuning chose
    stream: Any = None  # torch.cuda.Stream that a graph of its launches must be captured on; None: any
