// One block sums one row; the partial sums meet in dynamic shared memory, as large as the launch says.

__global__ void row_sum(const float* x, float* sums, int columns)
{
    extern __shared__ float partial[];
    const float* row = x + (size_t)blockIdx.x * columns;

    float mine = 0.0f;
    for (int at = threadIdx.x; at < columns; at += blockDim.x)
        mine += row[at];
    partial[threadIdx.x] = mine;
    __syncthreads();

    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        sums[blockIdx.x] = partial[0];
}
