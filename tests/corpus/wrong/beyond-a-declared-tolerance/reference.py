def scale(x):
    return x * 2.5 + 1
