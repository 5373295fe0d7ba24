"""The product in four panels of the inner dimension, each added to what there is."""

import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        step = A.shape[1] // 4
        out = A[:, :step] @ B[:step]
        for start in range(step, A.shape[1], step):
            out.addmm_(A[:, start : start + step], B[start : start + step])
        return out
