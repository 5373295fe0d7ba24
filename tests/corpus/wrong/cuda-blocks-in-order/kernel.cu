// A running sum that takes for granted that the block before has ended.
extern "C" __global__ void running(const float* x, float* y, int n)
{
    __shared__ float held[256];
    const int at = blockIdx.x * 256 + threadIdx.x;
    held[threadIdx.x] = at < n ? x[at] : 0.0f;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = blockIdx.x ? y[blockIdx.x * 256 - 1] : 0.0f;
        for (int k = 0; k < 256 && blockIdx.x * 256 + k < n; ++k) {
            total += held[k];
            y[blockIdx.x * 256 + k] = total;
        }
    }
}
