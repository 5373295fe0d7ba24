// Each block sums its share, all blocks wait for each other, then each divides its share by the total.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void normalise(const float* x, float* partial, float* y, int n)
{
    __shared__ float sums[256];
    const int share = n / gridDim.x;
    const int first = blockIdx.x * share;

    float mine = 0.0f;
    for (int at = threadIdx.x; at < share; at += blockDim.x)
        mine += x[first + at];
    sums[threadIdx.x] = mine;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sums[0];

    cg::this_grid().sync();

    float total = 0.0f;
    for (int block = 0; block < gridDim.x; ++block)
        total += partial[block];
    for (int at = threadIdx.x; at < share; at += blockDim.x)
        y[first + at] = x[first + at] / total;
}
