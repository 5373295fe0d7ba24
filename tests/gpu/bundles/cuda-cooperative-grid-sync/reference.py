def normalise(x):
    return x.reshape(64, -1).sum(dim=1), x / x.sum()
