"""The same nesting in another order of keys, with lists for tuples; one answer is an input, handed through."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        found = {"square": False, "ratio": 0.5, "rows": len(a)}
        found["parts"] = [a.tanh(), (b.exp(), a)]
        found["sum"] = b + a
        return found
