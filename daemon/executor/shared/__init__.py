"""What processes on both sides run. Plain modules, which import nothing else of evald.

protocol, tree, misfits          messages; values in them; values that have no place there
layout                           where tensors lie in shared memory
driver                           calls of CUDA's driver that torch has no word for
parent                           a process that does not outlive whoever started it
compiler_wrapper                 stands before the compiler in a build cell: which precompiled header fits a command
nvcc_wrapper                     stands before nvcc there: the steps of a compilation side by side
"""
