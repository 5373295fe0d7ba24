// Several kernels in one file and a namespace; the contract names one of them, a header folder and a macro.
#include "damping.cuh"

#ifndef SLOPE
#error "the contract's -D did not arrive"
#endif

inline constexpr int kLanes = 2;  // an inline variable: C++17

namespace activations {

__device__ float leaky(float value)
{
    if constexpr (kLanes > 1)
        return value > 0.0f ? value : SLOPE * value;
    else
        return 0.0f;
}

__global__ void plain(float* y, int count)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count)
        y[at] = -1.0f;
}

__global__ void __launch_bounds__(256) damped(const float* __restrict__ x, float* __restrict__ y, const int count)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count)
        y[at] = damping::product(leaky(x[at]), damping::bell(x[at]), 2.0f);
}

}  // namespace activations
