"""What a bundle says: parsing and checking contracts, binding cases, embedded tensors, the JSON Schema. Pure."""

from __future__ import annotations

from daemon.contract.binding import bind_case
from daemon.contract.document import CONTRACT_FILE
from daemon.contract.dtypes import DTYPES, Category, DTypeInfo, default_tolerance
from daemon.contract.kernel_types import KernelTypeSpec
from daemon.contract.parse import ParsedContract, parse_contract
from daemon.contract.payload import decode_tensor
from daemon.contract.request import (
    CaseSpec,
    Check,
    CompareRequest,
    EvaluateRequest,
    KernelMetadata,
    KernelSpec,
    Requirements,
    TimingMode,
    TimingSpec,
)
from daemon.contract.schema import contract_schema
from daemon.contract.tensors import (
    ArgSpec,
    ArgType,
    Compression,
    InitKind,
    InitSpec,
    IOContract,
    LaunchSpec,
    Role,
    TensorData,
    TensorSpec,
)
from daemon.contract.work import FlopUnit, Work

__all__ = [
    "CONTRACT_FILE",
    "DTYPES",
    "ArgSpec",
    "ArgType",
    "CaseSpec",
    "Category",
    "Check",
    "CompareRequest",
    "Compression",
    "DTypeInfo",
    "EvaluateRequest",
    "FlopUnit",
    "IOContract",
    "InitKind",
    "InitSpec",
    "KernelMetadata",
    "KernelSpec",
    "KernelTypeSpec",
    "LaunchSpec",
    "ParsedContract",
    "Requirements",
    "Role",
    "TensorData",
    "TensorSpec",
    "TimingMode",
    "TimingSpec",
    "Work",
    "bind_case",
    "contract_schema",
    "decode_tensor",
    "default_tolerance",
    "parse_contract",
]
