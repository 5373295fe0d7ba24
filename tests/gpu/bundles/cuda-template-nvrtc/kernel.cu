// A template with a type and a number; the contract's name expression chooses the instance.

template <typename T, int FACTOR>
__global__ void scale(const T* x, T* y, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n)
        y[at] = x[at] * static_cast<T>(FACTOR);
}
