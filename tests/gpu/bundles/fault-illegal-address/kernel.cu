// Writes where nothing is mapped.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    float* nowhere = reinterpret_cast<float*>(0x10);
    if (at < n)
        nowhere[at] = x[at] + y[at];
}
