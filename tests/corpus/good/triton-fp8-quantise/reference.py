"""Rows scaled so that the largest number is float8's largest, 448, and rounded to float8."""

import torch


def quantise(x):
    scale = x.abs().amax(1) / 448
    return (x / scale[:, None]).clamp(-448, 448).to(torch.float8_e4m3fn), scale
