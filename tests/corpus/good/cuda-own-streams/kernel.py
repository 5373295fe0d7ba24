"""Runs two halves of the work on two streams of its own, and joins them with events before it returns."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.streams = [torch.cuda.Stream(), torch.cuda.Stream()]

    def forward(self, a, b):
        here = torch.cuda.current_stream()
        begun = torch.cuda.Event()
        begun.record(here)
        halves = []
        for stream, function, x in zip(self.streams, (torch.tanh, torch.exp), (a, b), strict=True):
            stream.wait_event(begun)
            with torch.cuda.stream(stream):
                halves.append(function(x))
                ended = torch.cuda.Event()
                ended.record(stream)
            here.wait_event(ended)
            halves[-1].record_stream(here)
        return halves[0] + halves[1]
