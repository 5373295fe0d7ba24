def relay(x):
    first = x * 2 + 1
    second = first * first
    return {"stages": [first, second], "sum": (second.abs() + 1).sqrt()}
