import torch


def attend(query, key_cache, value_cache, pages, lengths):
    """Gather the pages, mask what lies behind each row's length, attend."""
    rows, heads, width = query.shape
    groups = key_cache.shape[1]

    def gathered(cache):
        found = cache[pages.long()].transpose(1, 2)  # [rows, groups, pages, slots, width]
        return found.reshape(rows, groups, -1, width).repeat_interleave(heads // groups, dim=1)

    keys, values = gathered(key_cache), gathered(value_cache)
    scores = torch.einsum("bhd,bhsd->bhs", query, keys) * 0.125
    behind = torch.arange(keys.shape[2], device=query.device)[None, :] >= lengths[:, None]
    weights = torch.softmax(scores.masked_fill(behind[:, None, :], float("-inf")), dim=-1)
    return torch.einsum("bhs,bhsd->bhd", weights, values)
