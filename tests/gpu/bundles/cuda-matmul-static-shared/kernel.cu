// A matrix product in tiles of 16 by 16 that lie in static shared memory. A C++ name: no extern "C".

constexpr int TILE = 16;

__global__ void tiled_product(const float* a, const float* b, float* c, int rows, int cols, int inner)
{
    __shared__ float left[TILE][TILE];
    __shared__ float right[TILE][TILE + 1];

    const int row = blockIdx.y * TILE + threadIdx.y;
    const int col = blockIdx.x * TILE + threadIdx.x;
    float total = 0.0f;

    for (int start = 0; start < inner; start += TILE) {
        const int across = start + threadIdx.x;
        const int down = start + threadIdx.y;
        left[threadIdx.y][threadIdx.x] = row < rows && across < inner ? a[row * inner + across] : 0.0f;
        right[threadIdx.y][threadIdx.x] = down < inner && col < cols ? b[down * cols + col] : 0.0f;
        __syncthreads();
        for (int k = 0; k < TILE; ++k)
            total += left[threadIdx.y][k] * right[k][threadIdx.x];
        __syncthreads();
    }

    if (row < rows && col < cols)
        c[row * cols + col] = total;
}
