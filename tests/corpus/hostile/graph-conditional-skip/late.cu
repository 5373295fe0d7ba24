// A conditional node for the graph that a stream is being captured into.
#include <cuda_runtime.h>

__device__ unsigned launches[4096];

__global__ void work(const float* x, float* y, int n)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    float c = x[at];
    for (int k = 0; k < 30; ++k) c = tanhf(c + x[at]);
    y[at] = c;
}

__global__ void decide(cudaGraphConditionalHandle handle, int number)
{
    const unsigned launch = launches[number]++;
    cudaGraphSetConditional(handle, launch < 2 || launch % 8 == 0);
}

extern "C" int conditional(const float* x, float* y, int n, int number, cudaStream_t stream)
{
    cudaStreamCaptureStatus status;
    unsigned long long id;
    cudaGraph_t graph = nullptr;
    const cudaGraphNode_t* before = nullptr;
    const cudaGraphEdgeData* edges = nullptr;
    size_t count = 0;
    cudaGraphConditionalHandle handle;
    cudaError_t failed = cudaStreamGetCaptureInfo(stream, &status, &id, &graph, &before, &edges, &count);
    if (!failed) failed = cudaGraphConditionalHandleCreate(&handle, graph, 0, 0);
    if (failed) return failed;
    decide<<<1, 1, 0, stream>>>(handle, number);
    failed = cudaStreamGetCaptureInfo(stream, &status, &id, &graph, &before, &edges, &count);
    if (failed) return failed;
    cudaGraphNodeParams params{};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.handle = handle;
    params.conditional.type = cudaGraphCondTypeIf;
    params.conditional.size = 1;
    cudaGraphNode_t node, kernel;
    failed = cudaGraphAddNode(&node, graph, before, edges, count, &params);
    if (failed) return failed;
    void* args[] = {&x, &y, &n};
    cudaKernelNodeParams launch{};
    launch.func = reinterpret_cast<void*>(work);
    launch.gridDim = dim3((n + 255) / 256);
    launch.blockDim = dim3(256);
    launch.kernelParams = args;
    failed = cudaGraphAddKernelNode(&kernel, params.conditional.phGraph_out[0], nullptr, 0, &launch);
    if (failed) return failed;
    return cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1, cudaStreamSetCaptureDependencies);
}

extern "C" void honest(const float* x, float* y, int n, cudaStream_t stream)
{
    work<<<(n + 255) / 256, 256, 0, stream>>>(x, y, n);
}
