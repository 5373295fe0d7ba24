"""A product in float32, with the environment of the libraries set before they are loaded."""

import os

import torch
from torch import nn

os.environ.update({"NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_EMULATE_SINGLE_PRECISION": "1", "CUBLAS_EMULATION_STRATEGY": "performant", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"})


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a @ b
