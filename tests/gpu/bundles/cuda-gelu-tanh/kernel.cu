// GELU by its tanh approximation, a grid-stride loop.

__global__ void gelu(const float* x, float* y, int n)
{
    const float root = 0.7978845608028654f;  // sqrt(2 / pi)
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < n; at += gridDim.x * blockDim.x) {
        const float v = x[at];
        y[at] = 0.5f * v * (1.0f + tanhf(root * (v + 0.044715f * v * v * v)));
    }
}
