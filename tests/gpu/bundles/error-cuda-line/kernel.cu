// Line 9 does not compile.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n)
        return;
    // The next line names something that is nowhere declared.
    out[at] = x[at] + undeclared_factor * y[at];
}
