// Right everywhere but in the last element.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n)
        out[at] = at == n - 1 ? x[at] - y[at] + 1.0f : x[at] + y[at];
}
