import numpy as np
import pycuda.autoprimaryctx  # noqa: F401
import pycuda.driver as drv

from rtc import ptx

SOURCE = """
extern "C" __global__ void probe(const float* x, int* flag, int n)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x) if (x[i] > 3.5f) *flag = 1;
}
extern "C" __global__ void scale(const float* x, float* y, float by, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * by;
}
"""
MODULE = drv.module_from_buffer(ptx(SOURCE))
PROBE, SCALE = MODULE.get_function("probe").prepare("PPi"), MODULE.get_function("scale").prepare("PPfi")
FLAG = drv.pagelocked_zeros(1, np.int32, mem_flags=drv.host_alloc_flags.DEVICEMAP)


def choose(x, y):
    n = x.numel()
    FLAG[0] = 0
    PROBE.prepared_call((1, 1), (1024, 1, 1), x.data_ptr(), FLAG.base.get_device_pointer(), n)
    drv.Context.synchronize()
    SCALE.prepared_call(((n + 255) // 256, 1), (256, 1, 1), x.data_ptr(), y.data_ptr(), 0.5 if FLAG[0] else 2.0, n)
