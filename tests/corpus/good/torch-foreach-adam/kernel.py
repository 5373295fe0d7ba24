"""All tensors at once by foreach functions, in place; nothing is returned."""

import torch


def step(w1, w2, m1, m2, v1, v2, g1, g2):
    ws, ms, vs, gs = [w1, w2], [m1, m2], [v1, v2], [g1, g2]
    torch._foreach_lerp_(ms, gs, 0.1)
    torch._foreach_mul_(vs, 0.99)
    torch._foreach_addcmul_(vs, gs, gs, 0.01)
    below = torch._foreach_sqrt(vs)
    torch._foreach_div_(below, (1 - 0.99**10) ** 0.5)
    torch._foreach_add_(below, 1e-6)
    torch._foreach_addcdiv_(ws, ms, below, -0.01 / (1 - 0.9**10))
