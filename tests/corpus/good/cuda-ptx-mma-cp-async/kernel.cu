// x w^T + bias in bfloat16 by inline PTX: cp.async into two buffers, mma.sync.m16n8k16, one warp for 16 by 8 results.
#include <cuda_bf16.h>

__device__ void fetch(void* to, const void* from)
{
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(place), "l"(from) : "memory");
}

__device__ unsigned pair(const __nv_bfloat16* at) { return *reinterpret_cast<const unsigned*>(at); }

extern "C" __global__ void linear(const __nv_bfloat16* x, const __nv_bfloat16* w, const float* bias, float* y, int out_features, int depth)
{
    __shared__ __align__(16) __nv_bfloat16 left[2][16][16];
    __shared__ __align__(16) __nv_bfloat16 right[2][8][16];
    const int lane = threadIdx.x, group = lane / 4, two = (lane % 4) * 2;
    const int row = blockIdx.y * 16, column = blockIdx.x * 8;
    float c0 = 0, c1 = 0, c2 = 0, c3 = 0;

    auto load = [&](int buffer, int k) {
        fetch(&left[buffer][lane / 2][(lane % 2) * 8], x + (row + lane / 2) * depth + k + (lane % 2) * 8);
        if (lane < 16)
            fetch(&right[buffer][lane / 2][(lane % 2) * 8], w + (column + lane / 2) * depth + k + (lane % 2) * 8);
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    load(0, 0);
    for (int k = 0, buffer = 0; k < depth; k += 16, buffer ^= 1) {
        if (k + 16 < depth) {
            load(buffer ^ 1, k + 16);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncwarp();
        const unsigned a0 = pair(&left[buffer][group][two]), a1 = pair(&left[buffer][group + 8][two]);
        const unsigned a2 = pair(&left[buffer][group][two + 8]), a3 = pair(&left[buffer][group + 8][two + 8]);
        const unsigned b0 = pair(&right[buffer][group][two]), b1 = pair(&right[buffer][group][two + 8]);
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
        __syncwarp();
    }
    float* place = y + (row + group) * out_features + column + two;
    const float first = bias[column + two], second = bias[column + two + 1];
    place[0] = c0 + first;
    place[1] = c1 + second;
    place[8 * out_features] = c2 + first;
    place[8 * out_features + 1] = c3 + second;
}
