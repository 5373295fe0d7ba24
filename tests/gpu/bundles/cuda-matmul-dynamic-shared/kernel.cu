// A matrix product by panels: 64 rows of a and 64 columns of b, 192 deep, 96 KiB of dynamic shared memory in all.
// More than 48 KiB has to be asked for before the launch. Each of the 16 by 16 threads owns 4 by 4 results.

constexpr int SIDE = 64;
constexpr int DEPTH = 192;

extern "C" __global__ void panels(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n)
{
    extern __shared__ float memory[];
    float* left = memory;                  // [SIDE][DEPTH]
    float* right = memory + SIDE * DEPTH;  // [DEPTH][SIDE]

    const int thread = threadIdx.y * 16 + threadIdx.x;
    const int top = blockIdx.y * SIDE;
    const int first = blockIdx.x * SIDE;
    float total[4][4] = {};

    for (int start = 0; start < n; start += DEPTH) {
        for (int at = thread; at < SIDE * DEPTH; at += 256) {
            left[at] = a[(top + at / DEPTH) * n + start + at % DEPTH];
            right[at] = b[(start + at / SIDE) * n + first + at % SIDE];
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; ++k)
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j)
                    total[i][j] += left[(threadIdx.y * 4 + i) * DEPTH + k] * right[k * SIDE + threadIdx.x * 4 + j];
        __syncthreads();
    }

    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            c[(top + threadIdx.y * 4 + i) * n + first + threadIdx.x * 4 + j] = total[i][j];
}
