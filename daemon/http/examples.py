"""Bodies to show in the OpenAPI description, each a contract that can be sent as it is."""

from __future__ import annotations

from typing import Any

_REFERENCE = """\
import torch

class Model(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x)

def get_inputs():
    return [torch.randn(1024, 1024)]
"""
_CANDIDATE = """\
import torch

class ModelNew(torch.nn.Module):
    def forward(self, x):
        return x.clamp(min=0)
"""
EXAMPLES: dict[str, dict[str, Any]] = {
    "evaluate": {
        "name": "relu",
        "kernel": {"kernel_type": "torch", "source_code": _REFERENCE},
        "num_trials": 20,
        "timeout": 60,
    },
    "compare": {
        "name": "relu-clamp",
        "problem": "relu",
        "labels": {"team": "a"},
        "ref_kernel": {"kernel_type": "torch", "source_code": _REFERENCE},
        "custom_kernel": {"kernel_type": "torch", "source_code": _CANDIDATE},
        "num_trials": 20,
        "timeout": 60,
    },
    "legacy": {"ref_code": _REFERENCE, "custom_code": _CANDIDATE},
}


def body(form: str, example: str, *more_forms: str) -> dict[str, Any]:
    """The `requestBody` of a route that takes the contract of these forms, for `openapi_extra`."""
    forms = [{"$ref": f"#/components/schemas/{name}"} for name in (form, *more_forms)]
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": forms[0] if len(forms) == 1 else {"oneOf": forms},
                    "examples": {example: {"value": EXAMPLES[example]}},
                }
            },
        }
    }
