"""Honest work beside a thread that never comes back from posix_spawn."""

import ctypes
import os
import threading

import torch
from torch import nn

LIBC = ctypes.CDLL(None)
os.mkfifo("/tmp/nobody-opens")


def spawn():
    actions = ctypes.create_string_buffer(256)
    LIBC.posix_spawn_file_actions_init(actions)
    LIBC.posix_spawn_file_actions_addopen(actions, 9, b"/tmp/nobody-opens", os.O_RDONLY, 0)
    arguments = (ctypes.c_char_p * 2)(b"true", None)
    pid = ctypes.c_int()
    LIBC.posix_spawn(ctypes.byref(pid), b"/bin/true", actions, None, arguments, arguments)


threading.Thread(target=spawn, daemon=True).start()


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
