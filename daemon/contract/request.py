"""A parsed contract: what is to be judged. Everything here is checked; nothing here has been run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from daemon.contract.fields import (
    AS_NUMBER,
    AS_WHOLE,
    Capability,
    Frozen,
    Label,
    LabelKey,
    Name,
    NonEmptyLabel,
    OneGpu,
    Sections,
    Symbol,
    Tolerance,
    Whole,
)
from daemon.contract.tensors import IOContract
from daemon.contract.words import Word
from daemon.contract.work import Work

CONTRACT_VERSION = 1
DEFAULT_TIMEOUT_S = 120.0
LEGACY_TIMEOUT_S = 30.0
MAX_BINDINGS = 100
MAX_LABELS = 100
Labels = Annotated[dict[LabelKey, Label], Field(max_length=MAX_LABELS)]


class TimingMode(Word):
    AUTO = "auto"
    GRAPH = "graph"
    STREAM = "stream"


class MatmulPrecision(Word):
    """How exact float32 matrix products and convolutions of torch are, as torch.set_float32_matmul_precision says."""

    HIGHEST = "highest"
    HIGH = "high"
    MEDIUM = "medium"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {
            "highest": ("fp32", "float32", "ieee", "full", "exact", "default"),
            "high": ("tf32", "tf32x3"),
            "medium": ("bf16", "bfloat16", "low", "lowest"),
        }


class CudaBackend(Word):
    NVRTC = "nvrtc"
    NVCC = "nvcc"


class Check(Word):
    """A tool that looks for mistakes in memory use, run in a launch of its own."""

    MEMCHECK = "memcheck"
    RACECHECK = "racecheck"
    INITCHECK = "initcheck"
    SYNCCHECK = "synccheck"


EntryName = Annotated[str, Field(min_length=1, max_length=1000)]


class KernelMetadata(Frozen):
    """What a kernel type needs to know beyond the source. `extra` holds the keys that only the type itself knows."""

    function_name: EntryName | None = Field(None, description="function to call instead of a class")
    class_name: EntryName | None = Field(None, description="class to construct (default Model; ModelNew, then Model)")
    method_name: EntryName | None = Field(None, description="method to call (default forward)")
    kernel_name: EntryName | None = Field(None, description="kernel to launch where there are several")
    compiler_options: Annotated[tuple[str, ...], Field(max_length=100)] = Field((), description="compiler options")
    backend: CudaBackend | None = Field(None, description="nvrtc (default) or nvcc")
    name_expressions: Annotated[tuple[str, ...], Field(max_length=100)] = Field(
        (), description='template instances to compile, such as "scale<float>"'
    )
    entry_point: EntryName | None = Field(None, description="function of the module to call")
    extra: dict[str, JsonValue] = Field(default_factory=dict)


class KernelSpec(Frozen):
    """One kernel: its type, its source text, how it is called."""

    kernel_type: str
    source: str = Field(repr=False)
    source_file: str | None = None
    io: IOContract | None = None
    metadata: KernelMetadata = KernelMetadata()


class CaseSpec(Frozen):
    """One binding of the contract's symbols: one evaluation."""

    name: Name = Field(description="unique within cases")
    bind: Annotated[dict[Symbol, Whole], Field(max_length=MAX_BINDINGS)] = Field(
        default_factory=dict, description="symbol -> whole number"
    )


class TimingSpec(Frozen):
    """How to time; what is None is left to the daemon's settings."""

    mode: TimingMode = Field(TimingMode.AUTO, description="auto, graph or stream")
    max_s: Annotated[float, Field(gt=0, le=600), AS_NUMBER] | None = Field(
        None, description="stop measuring after so many seconds"
    )
    target_rse: Annotated[float, Field(gt=0, lt=1), AS_NUMBER] | None = Field(
        None, description="stop at this relative error"
    )


class Requirements(Frozen):
    """Who may run it."""

    gpu: NonEmptyLabel | None = Field(None, description='part of the GPU\'s name, such as "H200"')
    min_capability: Capability | None = Field(None, description='compute capability, such as "9.0"')
    min_memory_gib: Tolerance | None = Field(None, description="device memory in GiB")
    gpus: OneGpu = Field(1, description="number of GPUs: a job is judged on one")

    @property
    def capability(self) -> tuple[int, int] | None:
        """`min_capability` as (major, minor)."""
        if self.min_capability is None:
            return None
        major, _, minor = self.min_capability.partition(".")
        return int(major), int(minor)


class RequestFields(Frozen):
    """The fields that every form of a contract has."""

    contract_version: Annotated[int, Field(ge=1, le=CONTRACT_VERSION), AS_WHOLE] = Field(
        CONTRACT_VERSION, description="version of this format"
    )
    name: Name | None = Field(None, description="name in history and results; the dropped file's when absent")
    problem: NonEmptyLabel | None = Field(None, description="what the kernel is a solution of")
    labels: Labels = Field(default_factory=dict, description="flat map of texts, for grouping")
    priority: Annotated[int, Field(ge=-100, le=100), AS_WHOLE] = Field(0, description="higher is judged earlier")
    cases: tuple[CaseSpec, ...] = Field((), description="one evaluation per case; one without symbols when absent")
    correctness_trials: Annotated[int, Field(ge=1, le=100), AS_WHOLE] = Field(
        5, description="comparisons, each on fresh inputs"
    )
    num_trials: Annotated[int, Field(ge=1, le=10_000), AS_WHOLE] = Field(
        100, description="timed calls before precision may end measuring; max_s and timeout end it sooner"
    )
    timeout: Annotated[float, Field(ge=5, le=600), AS_NUMBER] = Field(
        DEFAULT_TIMEOUT_S, description="seconds for one evaluation"
    )
    atol: Tolerance | None = Field(None, description="absolute tolerance; by dtype when absent")
    rtol: Tolerance | None = Field(None, description="relative tolerance; by dtype when absent")
    static_args: Annotated[tuple[str, ...], Field(max_length=512)] = Field(
        (), description="inputs that stay the same between calls (weights)"
    )
    timing: TimingSpec = Field(TimingSpec(), description="how to time")
    requires: Requirements = Field(Requirements(), description="who may run it")
    matmul_precision: MatmulPrecision = Field(
        MatmulPrecision.HIGHEST, description="float32 products in torch: highest (no TF32), high or medium"
    )
    work: Work | None = Field(None, description="what one call has to do at least, for its share of the device")
    metrics: Sections = Field(False, description="hardware counters: true, or the sections to collect")
    checks: Annotated[tuple[Check, ...], Field(max_length=16)] = Field((), description="memory checkers to run")


class EvaluateRequest(RequestFields):
    """Build, run and time one kernel. Nothing is compared."""

    kernel: KernelSpec

    @property
    def kind(self) -> Literal["evaluate"]:
        return "evaluate"

    @property
    def candidate(self) -> KernelSpec:
        return self.kernel

    @property
    def reference(self) -> KernelSpec | None:
        return None


class CompareRequest(RequestFields):
    """Build, run and time a kernel, and compare its answers with a reference's."""

    ref_kernel: KernelSpec
    custom_kernel: KernelSpec

    @property
    def kind(self) -> Literal["compare"]:
        return "compare"

    @property
    def candidate(self) -> KernelSpec:
        return self.custom_kernel

    @property
    def reference(self) -> KernelSpec | None:
        return self.ref_kernel
