// A softmax of rows with a tile of 32 threads each: cooperative groups, cg::reduce and a labeled partition of none.
#include <cmath>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

namespace cg = cooperative_groups;

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int rows, int columns)
{
    const cg::thread_block block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<32>(block);
    const int row = blockIdx.x * tile.meta_group_size() + tile.meta_group_rank();
    if (row >= rows) return;
    const float* from = x + (size_t)row * columns;
    float most = -INFINITY, sum = 0.0f;
    for (int at = tile.thread_rank(); at < columns; at += tile.size())
        most = fmaxf(most, from[at]);
    most = cg::reduce(tile, most, cg::greater<float>());
    for (int at = tile.thread_rank(); at < columns; at += tile.size())
        sum += expf(from[at] - most);
    sum = cg::reduce(tile, sum, cg::plus<float>());
    for (int at = tile.thread_rank(); at < columns; at += tile.size())
        y[(size_t)row * columns + at] = expf(from[at] - most) / sum;
}
