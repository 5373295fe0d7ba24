"""What a bundle says: parsing and checking contracts, binding cases, embedded tensors, the JSON Schema. Pure.

What is read, from the bytes inwards
    parse                            a contract's bytes to a checked request, or all that is wrong with them
    document                         its JSON, strictly
    kernels, sources                 one kernel of it; where the source text comes from
    cases, work                      its cases; what a call has to do at least, as declared
    payload                          bytes of tensors that it brings along
    expressions, syntax              whole numbers out of a case's symbols; Python's parser, which reads them
    binding                          a case's numbers in the place of its symbols

What comes out
    request, tensors                 what is to be judged; what a kernel is called with
    dtypes, kernel_types             element types; what a contract has to know of kernel types
    wire, schema                     the forms as they stand in the file; their JSON Schema

What is checked, and in which words
    fields, rules                    the kinds of value; what holds of one argument list
    problems                         all that is wrong, collected, with the names that were probably meant
    keys, words, rewrites, readings  what else was meant: a key, a word, Python; what a source looks like it does
"""

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
