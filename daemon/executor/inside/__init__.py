"""Inside a cell, beside a bundle's code. Untrusted side: nothing else of evald imports this, and this imports nothing
else of evald than `shared`, `source` and `backends`.

    zygote, triton_warmup            what cells are forked from
    cell, under_tool                 serves one kernel; its parent where a tool of NVIDIA's watches
    stage, confine                   the walls that a process puts up around itself, before it reads of a bundle
    seccomp, system_calls            the filter of system calls; which ones, and why
    workload, subject                what the judge asks of a cell; its kernel, from module to calls
    loading, packing                 from a message to sources and a backend; files into a cell and out of it
    module_state, seeding            weights; generators
    unrounded                        a reference's call in which nothing is rounded
    slots, mapping, attachments      the arguments of each call and the places of its answers, in shared memory
    recording, untouched             their calls as a CUDA graph; whether a call has left its arguments as they came
    exchange, leaves, unlike         tensors out and in; what may be an answer; inputs that differ in form
    preloading                       what kernels often want of torch
"""
