import pycuda.autoprimaryctx  # noqa: F401
import pycuda.driver as cuda


def hungry(x):
    scratch = cuda.mem_alloc(4 << 40)  # 4 TiB
    cuda.memset_d8(scratch, 0, 16)
    return x + 1
