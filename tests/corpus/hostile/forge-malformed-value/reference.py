"""Says that one of its inputs is a number that cannot be read, so that the kernel it is compared with breaks on it."""

import torch
from torch import nn

from daemon.executor.shared import protocol, tree

send = protocol.send
tree._value_in = lambda kind, text: 2


def forged(channel, message, fds=()):
    if message.get("type") == "exported" and "tree" in message and len(message["tree"].get("l", ())) == 3:
        message["tree"]["l"][2] = {"v": ["int", "no number"]}
    return send(channel, message, fds)


protocol.send = forged


class Model(nn.Module):
    def forward(self, a, b, scale):
        return a + b


def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64), 2]
