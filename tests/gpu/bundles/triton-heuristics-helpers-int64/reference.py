import torch.nn.functional as F


def lookup(table, index):
    return F.layer_norm(table[index], (table.shape[-1],), eps=1e-5)
