// Templates, functors and device lambdas in one grid-stride loop; several kernels in the file, one of which is meant.
#include <type_traits>
#include <utility>

template <typename F>
struct Twice {
    F inner;
    template <typename T>
    __device__ T operator()(T v) const { return inner(inner(v)); }
};

template <typename F>
__device__ Twice<F> twice(F f) { return Twice<F>{f}; }

template <typename T, typename F>
__device__ void for_each(const T* x, T* y, size_t n, F f)
{
    static_assert(std::is_invocable_r_v<T, F, T>, "one number to one number");
    for (size_t at = blockIdx.x * (size_t)blockDim.x + threadIdx.x; at < n; at += (size_t)gridDim.x * blockDim.x)
        y[at] = f(x[at]);
}

__global__ void unused(float* y) { y[0] = 1.0f; }

__global__ void smooth(const float* __restrict__ x, float* __restrict__ y, size_t n, float a)
{
    for_each(x, y, n, twice([a](auto v) { return v / (1.0f + a * fabsf(v)); }));
}

template <int N>
__global__ void unused_template(float* y) { y[N] = N; }
