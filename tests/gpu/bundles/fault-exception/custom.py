import torch


def check(x):
    """Raise at line 9."""
    columns = x.shape[-1] + 1
    if columns % 2:
        # This is the line the report must show.
        raise ValueError("an odd number of columns")


def refuse(x):
    y = torch.relu(x)
    check(y)
    return y
