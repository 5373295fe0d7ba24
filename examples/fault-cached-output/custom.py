"""A cheat: compute honestly a few times, then hand out the last answer again.

Checkers that verify once and then time a thousand calls fall for this. Here every call, checked or timed, gets fresh inputs, and
the outputs of timed calls are compared as well.
"""

from torch import nn

HONEST_CALLS = 8


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.answer = None

    def forward(self, x):
        self.calls += 1
        if self.calls <= HONEST_CALLS:
            self.answer = x @ x.t()
        return self.answer
