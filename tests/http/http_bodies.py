"""Bodies of requests."""

from __future__ import annotations

from typing import Any

KERNEL = {"kernel_type": "torch", "source_code": "class Model(nn.Module):\n    def forward(self):\n        return 1\n"}


def evaluate(name: str = "one", **fields: Any) -> dict[str, Any]:
    """A contract that a rehearsal takes."""
    return {"name": name, "kernel": KERNEL, **fields}


def compare(name: str = "two", **fields: Any) -> dict[str, Any]:
    return {"name": name, "ref_kernel": KERNEL, "custom_kernel": KERNEL, **fields}
