"""A cubin in the context torch uses, and the call that launches its kernel on torch's current stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from daemon.executor.backends._cuda_arguments import Packer
from daemon.executor.backends._cuda_driver import DriverFunction
from daemon.executor.backends._cuda_limits import Launch, Limits, require_possible
from daemon.executor.backends._cuda_probe import Interface
from daemon.executor.backends._primary_context import share_primary_context
from daemon.executor.source import KernelFault, Source


@dataclass(frozen=True)
class Prepared:
    """`call` launches; `stream` is the torch stream its graph must be captured on, None for any; `resources` is what
    the loaded function needs."""

    call: Callable[..., None]
    stream: Any
    resources: dict[str, int]


def prepare(cubin: bytes, interface: Interface, packer: Packer, source: Source, built: dict[str, Any]) -> Prepared:
    """Load `cubin` and check that the contract's launch can work. Raises `KernelFault`."""
    driver = share_primary_context()
    function = _function(driver, cubin, interface.symbol, built["architecture"])
    resources = _resources(function)
    launch = Launch.of(source.launch)
    require_possible(built["kernel"], launch, _limits(driver, resources))
    if launch.cluster is not None or launch.cooperative:
        special = DriverFunction(cubin, interface.symbol, launch)
        return Prepared(_driver_call(special, packer), None, resources)
    if launch.shared_bytes:
        attribute = driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
        function.set_attribute(attribute, launch.shared_bytes)
    return _prepared(driver, function, launch, packer, resources)


def _function(driver: Any, cubin: bytes, symbol: str, architecture: str) -> Any:
    try:
        module = driver.module_from_buffer(cubin)
        return module.get_function(symbol)
    except driver.MemoryError as error:
        raise KernelFault("out_of_memory", f"loading the kernel: {error}") from error
    except driver.Error as error:
        major, minor = driver.Context.get_device().compute_capability()
        raise KernelFault(
            "compile_error", f"a cubin for {architecture} does not load on this GPU (sm_{major}{minor}): {error}"
        ) from error


def _resources(function: Any) -> dict[str, int]:
    return {
        "registers": function.num_regs,
        "local_bytes": function.local_size_bytes,
        "static_shared_bytes": function.shared_size_bytes,
        "constant_bytes": function.const_size_bytes,
        "max_threads_per_block": function.max_threads_per_block,
        "binary_version": function.binary_version,
    }


def _limits(driver: Any, resources: dict[str, int]) -> Limits:
    device, known = driver.Context.get_device(), driver.device_attribute
    block, grid = (
        tuple(device.get_attribute(getattr(known, f"MAX_{what}_DIM_{axis}")) for axis in "XYZ")
        for what in ("BLOCK", "GRID")
    )
    return Limits(
        threads=resources["max_threads_per_block"],
        registers=resources["registers"],
        block=block,
        grid=grid,
        static_shared_bytes=resources["static_shared_bytes"],
        shared_bytes=device.get_attribute(known.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
    )


def _driver_call(function: DriverFunction, packer: Packer) -> Callable[..., None]:
    current, pack = torch.cuda.current_stream, packer.pack

    def call(*args: Any) -> None:
        function(current().cuda_stream, pack(args))

    return call


def _prepared(driver: Any, function: Any, launch: Launch, packer: Packer, resources: dict[str, int]) -> Prepared:
    """PyCUDA launches on a stream object of its own kind only, so one is made that torch can use as well."""
    function.prepare([np.dtype(f"V{packer.size_bytes}")] if packer.size_bytes else [])
    own = driver.Stream()
    streams = {0: None, own.handle: own}
    enqueue, current, pack = function.prepared_async_call, torch.cuda.current_stream, packer.pack
    grid, block, shared = launch.grid, launch.block, launch.shared_bytes

    def call(*args: Any) -> None:
        packed = pack(args)
        try:
            chosen = streams[current().cuda_stream]
            enqueue(grid, block, chosen, *((packed,) if packed else ()), shared_size=shared)
        except KeyError as error:
            raise KernelFault(
                "harness_error", "the current stream is neither the default one nor Kernel.stream"
            ) from error
        except driver.MemoryError as error:
            raise KernelFault("out_of_memory", f"launching with {launch}: {error}") from error
        except driver.Error as error:
            raise KernelFault("runtime_error", f"launching with {launch}: {error}") from error

    stream = torch.cuda.ExternalStream(own.handle)  # type: ignore[no-untyped-call]
    return Prepared(call, stream, resources)
