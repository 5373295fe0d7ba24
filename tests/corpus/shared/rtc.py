"""NVRTC by ctypes, for who has no nvcc at hand: PTX of a source."""

import ctypes
import glob
import os
import sys


def ptx(source, arch="compute_90"):
    places = ["/usr/local/cuda/lib64"] + [os.path.join(p, "nvidia", q, "lib") for p in sys.path for q in ("cu13", "cuda_nvrtc")]
    found = [f for place in places for f in sorted(glob.glob(place + "/libnvrtc.so*"), key=len)]
    for builtins in sorted(glob.glob(os.path.dirname(found[0]) + "/libnvrtc-builtins.so*")):
        ctypes.CDLL(builtins, ctypes.RTLD_GLOBAL)
    rtc = ctypes.CDLL(found[0])
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = (ctypes.c_char_p * 2)(f"--gpu-architecture={arch}".encode(), b"--std=c++17")
    assert rtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    if rtc.nvrtcCompileProgram(program, 2, options):
        rtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        rtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(log.value.decode())
    rtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    rtc.nvrtcGetPTX(program, text)
    return text.value
