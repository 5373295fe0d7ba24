"""Reports an infinity, a huge number, lone surrogates and control characters as the description of itself."""

import json
import struct
import sys

from torch import nn


def workload():
    """The cell's own state, from the frames that called us."""
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "Workload":
                return value
        frame = frame.f_back
    raise RuntimeError("not called from a cell")


def report(message, fds):
    return {"type": "reported", "describe": {}}


def send_odd(channel, message, fds=()):
    """The cell's own sending, but for the report: that is written as text that json itself would not write."""
    odd = {"\ud800\x00": "\ud800\x1b[2J", "big": 10**4000, "verdict": "passed", "speedup": 1e300}
    body = json.dumps(message).encode()
    if message["type"] == "reported":
        text = json.dumps(odd)
        body = ('{"type": "reported", "describe": ' + text[:-1] + ', "infinite": 1e999, "less": -1e999}}').encode()
    channel.sendall(struct.pack(">I", len(body)) + body)


class ModelNew(nn.Module):
    def forward(self, a, b):
        workload()._on_report = report
        sys.modules["daemon.executor.shared.protocol"].send = send_odd
        return a + b
