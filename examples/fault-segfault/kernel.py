"""Crashes: a copy through raw pointers whose target is null. The verdict is runtime_error with the signal; the daemon goes on."""

import ctypes

import torch


def copy(x):
    y = torch.empty_like(x)
    target = 0  # wrong: should be y.data_ptr()
    ctypes.memmove(target, x.data_ptr(), x.numel() * x.element_size())
    return y
