import torch


def shrink(x, down, sorted_tokens, tokens_of, start_of, adapters):
    """out[slice, token] = 0.5 * down[slice, adapter of token] @ x[token], token by token's adapter."""
    place = torch.arange(sorted_tokens.numel(), device=x.device)
    inside = (place[None, :] >= start_of[:, None]) & (place[None, :] < (start_of + tokens_of)[:, None])
    adapter_at = (inside * adapters[:, None]).sum(dim=0)
    adapter_of = torch.zeros_like(adapter_at).index_copy(0, sorted_tokens.long(), adapter_at)
    chosen = down.float()[:, adapter_of]  # [slices, tokens, rank, width]
    return 0.5 * torch.einsum("tk,strk->str", x.float(), chosen)
