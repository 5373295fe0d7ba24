def scale(x, y):
    return x * 2.5 + 1.00005
