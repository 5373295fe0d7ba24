"""`torch.compile` around kernels that Triton's interpreter runs: it follows the interpreter itself, which ends in
errors that speak of neither, or takes minutes. What was to be compiled is called as it is.
"""

from __future__ import annotations

import os
import sys

NOTE = "torch.compile is left out where Triton's interpreter runs kernels: what it was given is called as it is"


def leave_out() -> str:
    """Have torch compile nothing in this process. Returns the note of it, if there is something to note already:
    torch's compiler has been loaded, which takes seconds, only where a source has asked for it."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    if "torch._dynamo" not in sys.modules:
        return ""
    import torch

    torch.compiler.set_stance("force_eager")
    return NOTE
