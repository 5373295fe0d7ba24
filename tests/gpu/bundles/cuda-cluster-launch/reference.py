def swap(x):
    pairs = x.reshape(-1, 2, x.shape[-1])
    return pairs.flip(1, 2).reshape(x.shape)
