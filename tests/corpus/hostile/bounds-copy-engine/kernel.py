"""The answer is right; a copy behind it goes on for 256 bytes beyond the output's end."""

import ctypes

import torch

HONEST_CALLS = 10
DRIVER = ctypes.CDLL("libcuda.so.1")
zeros = []
calls = 0


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def run(a, b, y):
    global calls
    calls += 1
    if not zeros:
        zeros.append(torch.zeros(256, dtype=torch.uint8, device=y.device))
    y.copy_(work(a, b))
    if calls <= HONEST_CALLS and not torch.cuda.is_current_stream_capturing():
        return
    end = ctypes.c_uint64(y.data_ptr() + y.numel() * y.element_size())
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    code = DRIVER.cuMemcpyDtoDAsync_v2(end, ctypes.c_uint64(zeros[0].data_ptr()), ctypes.c_size_t(256), stream)
    if code:
        raise RuntimeError(f"cuMemcpyDtoDAsync: {code}")
