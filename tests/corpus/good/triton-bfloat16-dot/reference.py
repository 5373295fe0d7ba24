"""A small product, in float32."""


def dot(a, b):
    return a.float() @ b.float()
