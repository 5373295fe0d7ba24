// Turns every block's 1024 numbers round in shared memory, and does not wait for the other warps.
extern "C" __global__ void turn(const float* x, float* y)
{
    __shared__ float held[1024];
    const int base = blockIdx.x * 1024;
    float mine = x[base + threadIdx.x];
    if (threadIdx.x >= 512)
        for (int k = 0; k < 200; ++k) mine = fmaf(mine, 1.0f, 0.0f) + 0.0f * __sinf(mine);
    held[threadIdx.x] = mine;
    y[base + threadIdx.x] = held[1023 - threadIdx.x];
}
