def smooth(x):
    for _ in range(2):
        x = x / (1 + 0.75 * x.abs())
    return x
