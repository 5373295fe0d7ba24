"""An LSTM and a GRU by hand, one step after the other."""

import torch
from torch import nn

BATCH, STEPS, WIDTH = 16, 12, 64  # small: 2, 3, 8


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x):
        h, c = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
        first = []
        for step in x.unbind(1):
            i, f, g, o = self.gates(self.lstm, step, h).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            first.append(h)
        h = torch.zeros_like(h)
        second = []
        net = self.gru
        for step in first:
            ir, iz, inew = (step @ net.weight_ih_l0.T + net.bias_ih_l0).chunk(3, 1)
            hr, hz, hnew = (h @ net.weight_hh_l0.T + net.bias_hh_l0).chunk(3, 1)
            new = torch.tanh(inew + torch.sigmoid(ir + hr) * hnew)
            z = torch.sigmoid(iz + hz)
            h = (1 - z) * new + z * h
            second.append(h)
        return torch.stack(second, 1), (h[None], c[None])

    def gates(self, net, x, h):
        return x @ net.weight_ih_l0.T + net.bias_ih_l0 + h @ net.weight_hh_l0.T + net.bias_hh_l0


def get_inputs():
    return [torch.randn(BATCH, STEPS, WIDTH)]
