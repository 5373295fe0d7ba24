"""An extension of two files that lie beside this one: device code that knows nothing of torch, and its binding."""

from pathlib import Path

from torch import nn
from torch.utils.cpp_extension import load

HERE = Path(__file__).parent

extension = load(name="prefix_sum", sources=[str(HERE / "csrc" / name) for name in ("binding.cpp", "prefix_sum.cu")])


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.prefix_sum(x)
