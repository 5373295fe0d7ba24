"""What Triton does once in a process, done for all forks of this one: loading its compiler, and compiling the C by
which it launches kernels. The GPU need not be there. Imported in zygotes."""

from __future__ import annotations

import functools
import inspect

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_WARP_SIZE = 32


@triton.jit  # type: ignore[untyped-decorator]
def _scale(x_ptr, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < count) * 2, mask=at < count)


def compile_once(architecture: str) -> None:
    """Compile a small kernel for compute capability `architecture` ("9.0"). Raises whatever Triton does."""
    source = ASTSource(
        fn=_scale, signature={"x_ptr": "*fp32", "count": "i32", "BLOCK": "constexpr"}, constexprs={"BLOCK": 1024}
    )
    triton.compile(source, target=GPUTarget("cuda", int(architecture.replace(".", "")), _WARP_SIZE))


def load_helper() -> None:
    """Compile and load the C helper of Triton's driver, which takes a compiler some tenths of a second. Triton would
    make it again for whoever asks for it; from here on nobody makes it again. The driver's library is loaded with it,
    and does nothing before a process wants a GPU. Raises whatever Triton does."""
    from triton.backends.nvidia.driver import CudaUtils

    CudaUtils()
    CudaUtils.__init__ = lambda _: None


def compile_launchers_quickly() -> None:
    """Have Triton's launchers compiled at -O1. Before 3.7 Triton compiles C for every signature that it launches, at
    -O3, which takes half as long again (gcc 12: 0.6 s and 0.4), more than compiling the kernel does. That C only hands
    arguments to the driver."""
    from triton.backends.nvidia import driver

    compile_c = driver.compile_module_from_src
    if "ccflags" in inspect.signature(compile_c).parameters:
        driver.compile_module_from_src = functools.partial(compile_c, ccflags=["-O1"])
