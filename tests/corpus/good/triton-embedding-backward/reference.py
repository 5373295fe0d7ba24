"""The gradient of an embedding's table: rows added up where their token points."""

import torch


def scatter(grad, tokens, table):
    chosen = torch.zeros(table.shape[0], tokens.shape[0], dtype=table.dtype, device=table.device)
    chosen[tokens, torch.arange(tokens.shape[0], device=tokens.device)] = 1
    return table + chosen @ grad
