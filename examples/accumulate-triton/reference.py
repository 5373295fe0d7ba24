"""Returns what `total` must be after the call. Without `io` of its own it is called with the custom kernel's input tensors."""


def axpy(x, total):
    return total + 0.5 * x
