// Device code alone: evald compiles it, allocates the tensors and launches it as the contract says.
// `n` gets the C type of this signature. On a host without a GPU the kernel is compiled where a CUDA compiler is
// installed, and the verdict is `unsupported`: nothing was run, so nothing is claimed.

extern "C" __global__ void add(const float* x, const float* y, float* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = x[i] + y[i];
    }
}
