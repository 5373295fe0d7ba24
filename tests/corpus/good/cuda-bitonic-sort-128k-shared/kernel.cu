// Sorts rows of 32768 numbers, each in one block with 128 KiB of dynamic shared memory.
extern "C" __global__ void sort_rows(const float* __restrict__ x, float* __restrict__ y)
{
    constexpr int COUNT = 32768;
    extern __shared__ float keys[];
    for (int at = threadIdx.x; at < COUNT; at += blockDim.x)
        keys[at] = x[(size_t)blockIdx.x * COUNT + at];
    for (int width = 2; width <= COUNT; width *= 2)
        for (int step = width / 2; step > 0; step /= 2) {
            __syncthreads();
            for (int at = threadIdx.x; at < COUNT / 2; at += blockDim.x) {
                const int low = 2 * at - (at & (step - 1)), high = low + step;
                const bool rises = (low & width) == 0;
                const float a = keys[low], b = keys[high];
                if ((a > b) == rises) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
        }
    __syncthreads();
    for (int at = threadIdx.x; at < COUNT; at += blockDim.x)
        y[(size_t)blockIdx.x * COUNT + at] = keys[at];
}
