// A template over type, block size and operation, with headers of the host's standard library: nvcc's work.
#include <limits>
#include <type_traits>

namespace fold {

struct Larger {
    template <typename T>
    static constexpr T start() { return std::numeric_limits<T>::lowest(); }

    template <typename T>
    __device__ static T combine(T left, T right) { return left > right ? left : right; }
};

template <typename T, int THREADS, typename Operation>
__global__ void fold_rows(const T* x, T* y, int columns)
{
    static_assert(std::is_floating_point_v<T>, "for floating point only");
    __shared__ T partial[THREADS];

    T mine = Operation::template start<T>();
    for (int at = threadIdx.x; at < columns; at += THREADS)
        mine = Operation::combine(mine, x[blockIdx.x * columns + at]);
    partial[threadIdx.x] = mine;
    __syncthreads();

    if (threadIdx.x == 0) {
        for (int other = 1; other < THREADS; ++other)
            mine = Operation::combine(mine, partial[other]);
        y[blockIdx.x] = mine;
    }
}

}  // namespace fold
