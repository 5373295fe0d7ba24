// Nothing is wrong with this kernel: the contract wants it compiled for another GPU.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n)
        out[at] = x[at] + y[at];
}
