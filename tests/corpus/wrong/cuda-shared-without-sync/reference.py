def turn(x):
    return x.flip(1)
