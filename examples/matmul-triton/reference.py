"""The product, by the library. Without `io` of its own it is called with the custom kernel's input tensors, here a and b."""


def matmul(a, b):
    return a @ b
