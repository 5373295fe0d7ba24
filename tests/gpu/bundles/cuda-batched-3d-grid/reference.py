def scaled_transpose(x, factor):
    return (x * factor[:, None, None]).transpose(1, 2).contiguous()
