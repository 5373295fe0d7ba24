// The right answer, and one element too many: what lies behind the output belongs to somebody else.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n)
        out[at] = x[at] + y[at];
    else if (at == n)
        out[at] = 0.0f;
}
