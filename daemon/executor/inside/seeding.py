"""The generators that a source is likely to draw from, set anew."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed every generator. `torch.manual_seed` takes up to 0.4 ms: for every kind of device that is not there it
    notes, with a traceback, what is to be done as soon as there is one."""
    _seed(torch.default_generator, *torch.cuda.default_generators, seed=seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def seed_devices(seed: int) -> None:
    """Those of GPUs alone."""
    _seed(*torch.cuda.default_generators, seed=seed)


def states() -> tuple[object, ...]:
    """The states of all generators: another answer later tells that something was drawn in between. A GPU's are known
    without waiting for it. Empty where a source has made torch something else; it is only for a hint."""
    of_torch = (torch.default_generator, *torch.cuda.default_generators)
    try:
        drawn_by_torch = [one.get_state().numpy().tobytes() for one in of_torch]
        return (*drawn_by_torch, random.getstate(), repr(np.random.get_state(legacy=False)))
    except Exception:  # noqa: BLE001 - modes that it has entered, functions that it has replaced
        return ()


def _seed(*generators: torch.Generator, seed: int) -> None:
    for generator in generators:
        generator.manual_seed(seed)
