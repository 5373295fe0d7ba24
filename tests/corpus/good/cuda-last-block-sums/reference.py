def total(x):
    return (x * x).sum().reshape(1)
