// Transposes every matrix of a batch and scales it: columns on x, rows on y, the batch on z.
#include <cuda_fp16.h>

__global__ void scaled_transpose(const half* x, const half* factor, half* out, int rows, int columns)
{
    __shared__ half tile[32][33];
    const size_t matrix = (size_t)blockIdx.z * rows * columns;
    const half scale = factor[blockIdx.z];

    int column = blockIdx.x * 32 + threadIdx.x;
    for (int step = threadIdx.y; step < 32; step += blockDim.y) {
        const int row = blockIdx.y * 32 + step;
        if (row < rows && column < columns)
            tile[step][threadIdx.x] = __hmul(x[matrix + (size_t)row * columns + column], scale);
    }
    __syncthreads();

    const int row = blockIdx.y * 32 + threadIdx.x;
    for (int step = threadIdx.y; step < 32; step += blockDim.y) {
        column = blockIdx.x * 32 + step;
        if (row < rows && column < columns)
            out[matrix + (size_t)column * rows + row] = tile[threadIdx.x][step];
    }
}
