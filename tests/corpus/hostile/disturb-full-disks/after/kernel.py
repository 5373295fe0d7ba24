"""Writes files after a bundle that filled every file system, and works honestly."""

import os
from pathlib import Path

from torch import nn

for place in (os.environ["TMPDIR"], "/dev/shm"):
    (Path(place) / "mine").write_bytes(b"x" * (8 << 20))
print("written", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
