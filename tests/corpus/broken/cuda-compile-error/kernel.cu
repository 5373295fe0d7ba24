// A name that nobody declared stands in line 7.

extern "C" __global__ void twice(const float* a, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n)
        out[at] = a[at] * factor;
}
