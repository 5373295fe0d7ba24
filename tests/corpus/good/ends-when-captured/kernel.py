"""A call that does not outlive being captured."""

import os

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        if torch.cuda.is_current_stream_capturing():
            os.abort()
        return x + x
