// An assertion in device code that does not hold.
#include <assert.h>

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    assert(n < 10);
    if (at < n)
        out[at] = x[at] + y[at];
}
