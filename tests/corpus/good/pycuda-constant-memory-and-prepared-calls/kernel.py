import pycuda.autoprimaryctx  # noqa: F401
import pycuda.driver as drv

from rtc import ptx

SOURCE = """
__constant__ float coefficient[9];
extern "C" __global__ void horner(const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = coefficient[8];
    for (int k = 7; k >= 0; --k) v = v * x[i] + coefficient[k];
    y[i] = v;
}
"""
MODULE = drv.module_from_buffer(ptx(SOURCE))
HORNER = MODULE.get_function("horner").prepare("PPi")
TABLE, SIZE = MODULE.get_global("coefficient")


def polynomial(x, c, y):
    n = x.numel()
    drv.memcpy_dtod(TABLE, c.data_ptr(), SIZE)
    HORNER.prepared_call(((n + 255) // 256, 1), (256, 1, 1), x.data_ptr(), y.data_ptr(), n)
