"""The three forms as they stand in `contract.json`: for the JSON Schema, and to know which keys are known where."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from daemon.contract.fields import AS_NUMBER, Frozen
from daemon.contract.request import LEGACY_TIMEOUT_S, RequestFields
from daemon.contract.tensors import IOContract


class KernelDocument(Frozen):
    """One kernel as written: exactly one of `source_code` and `source_file`."""

    source_code: str | None = Field(None, description="the source text", repr=False)
    source_file: str | None = Field(None, description="path of the source inside the bundle")
    kernel_type: str = Field(description="what the source is")
    io: IOContract | None = Field(None, description="arguments and launch")
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="what the kernel type needs to know")


class EvaluateDocument(RequestFields):
    """Build, run and time one kernel."""

    kernel: KernelDocument = Field(description="the kernel to judge")


class CompareDocument(RequestFields):
    """Judge a kernel against a reference."""

    ref_kernel: KernelDocument = Field(description="what the right answers are")
    custom_kernel: KernelDocument = Field(description="the kernel to judge")


class LegacyDocument(RequestFields):
    """Two texts: a torch reference and a torch_cuda kernel."""

    timeout: Annotated[float, Field(ge=5, le=600), AS_NUMBER] = Field(
        LEGACY_TIMEOUT_S, description="seconds for one evaluation"
    )
    ref_code: str = Field(description="torch reference", repr=False)
    custom_code: str = Field(description="torch_cuda kernel", repr=False)
