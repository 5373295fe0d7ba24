// Two blocks form a cluster; each reads its partner's row out of the partner's shared memory.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void swap_rows(const float* x, float* y)
{
    __shared__ float row[128];
    cg::cluster_group cluster = cg::this_cluster();
    const int at = blockIdx.x * blockDim.x + threadIdx.x;

    row[threadIdx.x] = x[at];
    cluster.sync();
    const float* partners = cluster.map_shared_rank(row, cluster.block_rank() ^ 1);
    y[at] = partners[blockDim.x - 1 - threadIdx.x];
    cluster.sync();  // the partner may still be reading
}
