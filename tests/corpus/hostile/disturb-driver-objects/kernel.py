"""Honest work, in a process that holds thousands of streams, events, graphs and allocations."""

import ctypes

import torch
from torch import nn

DRIVER = ctypes.CDLL("libcuda.so.1")
NON_BLOCKING, NO_TIMING = 1, 2
HELD = []


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def many(what, times, make):
    for number in range(times):
        handle = ctypes.c_void_p()
        if code := make(ctypes.byref(handle)):
            print(what, "end at", number, "with", code, flush=True)
            return
        HELD.append(handle)
    print(what, times, flush=True)


def graphs(handle):
    graph, node = ctypes.c_void_p(), ctypes.c_void_p()
    code = DRIVER.cuGraphCreate(ctypes.byref(graph), ctypes.c_uint(0))
    code = code or DRIVER.cuGraphAddEmptyNode(ctypes.byref(node), graph, None, ctypes.c_size_t(0))
    return code or DRIVER.cuGraphInstantiateWithFlags(handle, graph, ctypes.c_ulonglong(0))


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        torch.zeros(1, device="cuda")
        many("streams", 1024, lambda handle: DRIVER.cuStreamCreate(handle, ctypes.c_uint(NON_BLOCKING)))
        many("events", 50_000, lambda handle: DRIVER.cuEventCreate(handle, ctypes.c_uint(NO_TIMING)))
        many("graphs", 2000, graphs)
        many("allocations", 3000, lambda handle: DRIVER.cuMemAlloc_v2(handle, ctypes.c_size_t(2 << 20)))
        for held in HELD[-3000::2]:
            DRIVER.cuMemFree_v2(held)

    def forward(self, a, b):
        return work(a, b)
