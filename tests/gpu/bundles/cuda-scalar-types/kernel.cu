// Every scalar in the type this signature gives it. `seen` tells what arrived, exactly.
#include <cuda_fp16.h>

typedef unsigned char byte_t;

__global__ void scalars(const float* x, float single, int number, size_t count, half half_value, double wide,
                        long long big, bool flag, byte_t tiny, unsigned int unsigned_number, short little,
                        float* y, double* seen)
{
    const size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count)
        y[at] = x[at] * single;
    if (at == 0) {
        seen[0] = (double)single;
        seen[1] = (double)number;
        seen[2] = (double)__half2float(half_value);
        seen[3] = wide;
        seen[4] = (double)big;
        seen[5] = flag ? 1.0 : 0.0;
        seen[6] = (double)tiny;
        seen[7] = (double)unsigned_number;
        seen[8] = (double)little;
    }
}
