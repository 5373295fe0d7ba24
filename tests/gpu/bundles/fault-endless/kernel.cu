// Waits for a word that nobody writes.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    volatile float* word = out;
    if (at < n)
        while (word[at] != -12345.0f) {
        }
}
