"""`torch.compile` around kernels that Triton's interpreter runs.

It would follow the interpreter itself, and end in errors about neither the kernel nor the interpreter, or take minutes.
So what was to be compiled is called as it is.
"""

from __future__ import annotations

import os
import sys

NOTE = "torch.compile is left out where Triton's interpreter runs kernels: what it was given is called as it is"


def leave_out() -> str:
    """Have torch compile nothing in this process. Returns a note of it; empty if the source has not asked for torch's
    compiler, which is not loaded then: that takes seconds."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    if "torch._dynamo" not in sys.modules:
        return ""
    import torch

    torch.compiler.set_stance("force_eager")
    return NOTE
