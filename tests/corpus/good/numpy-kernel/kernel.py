"""Does everything in NumPy, with a copy to the host and back where the inputs are on a GPU."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        found = np.cumsum(np.tanh(a.cpu().numpy()), axis=1, dtype=np.float32) * b.cpu().numpy()
        return torch.from_numpy(found).to(a.device)
