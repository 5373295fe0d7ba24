"""Bundles and small helpers for the tests of the whole service."""

from __future__ import annotations

import json
import os
from pathlib import Path

REFERENCE = "import torch\nclass Model(torch.nn.Module):\n    def forward(self, x):\n        return x * 2\n"
INPUTS = "def get_inputs():\n    return [torch.randn(64)]\n"
RIGHT = "import torch\nclass ModelNew(torch.nn.Module):\n    def forward(self, x):\n        return x + x\n"
WRONG = RIGHT.replace("x + x", "x + 1")
SLOW = RIGHT.replace("        return", "        import time; time.sleep(30)\n        return")


def contract(source: str = RIGHT, **fields: object) -> dict[str, object]:
    """A compare of `source` with doubling."""
    return {
        "ref_kernel": {"kernel_type": "torch", "source_code": REFERENCE + INPUTS},
        "custom_kernel": {"kernel_type": "torch", "source_code": source},
        "correctness_trials": 2,
        "num_trials": 5,
        "timeout": 300,
        "timing": {"max_s": 0.2, "target_rse": 0.2},
        **fields,
    }


def write_bundle(folder: Path, source: str = RIGHT, **fields: object) -> Path:
    """A bundle directory."""
    folder.mkdir(parents=True)
    (folder / "contract.json").write_text(json.dumps(contract(source, **fields)), "utf-8")
    return folder


def drop(home: Path, name: str, source: str = RIGHT, *, uid: int | None = None, **fields: object) -> None:
    """Write a bundle beside the inbox, then rename it in, as a careful sender does. `uid`: whose it is, if not ours."""
    staged = write_bundle(home / "outside" / name, source, **fields)
    if uid is not None:
        for place in (staged, *staged.iterdir()):
            os.chown(place, uid, uid)
    inbox = home / "inbox"
    inbox.mkdir(exist_ok=True)
    staged.rename(inbox / name)


def result_of(home: Path, name: str) -> dict[str, object] | None:
    """The newest published result of a bundle name, or None."""
    path = home / "results" / "by-name" / name / "result.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None
