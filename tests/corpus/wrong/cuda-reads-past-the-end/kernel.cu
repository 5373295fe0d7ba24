// The mean of each element and its right neighbour; the last one's neighbour is outside.
extern "C" __global__ void smooth(const float* x, float* y, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n) y[at] = 0.5f * (x[at] + x[at + 1]);
}
