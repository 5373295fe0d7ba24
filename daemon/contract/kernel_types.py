"""What the contract has to know about a kernel type. The types themselves live in the backend files, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KernelTypeSpec:
    """One kernel type, as its backend file declares it.

    - `metadata_keys`: the keys that mean something to the type
    - `metadata_aliases`: maps another spelling to one of them
    - `metadata_required`: those that must be given
    - `is_python`: the source is Python text
    - `writes_outputs`: results are the output and inout tensors of `io` (so there has to be one), not a return value
    - `lacks_dtypes`: what tensors of `io` cannot be, because no kernel of the type could take them
    """

    name: str
    io_required: bool = False
    metadata_keys: tuple[str, ...] = ()
    is_python: bool = True
    metadata_aliases: Mapping[str, str] = field(default_factory=dict)
    metadata_required: tuple[str, ...] = ()
    writes_outputs: bool = False
    lacks_dtypes: tuple[str, ...] = ()
