"""Uses up the stack of the process."""

import faulthandler

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        faulthandler._stack_overflow()
        return a.tanh() * b
