"""Fresh content for every slot of every round: from the contract's init, or from the source's own get_inputs in its
own cell."""

from __future__ import annotations

import time

import torch

from daemon.executor.content.arena import lanes
from daemon.executor.content.exports import Export
from daemon.executor.content.inputs import Secret, draw, is_fixed
from daemon.executor.content.wiring import CannotWire, Logical

_SETS_LOOKED_AT = 256  # sets in a row; after that the first one of each draw, for sets that come again later
_COLUMNS = 16381  # a prime: if two rows of a matrix trade places, their elements change columns
_TELLING = 4096
_SUMMED_AT_ONCE = 1 << 25  # words
_SUMMED_TOGETHER = 1 << 20  # bytes of one input in all slots


class Drawer:
    """Draws all logical inputs of one case; what the contract does not describe, `source` makes. Trial 0 of the check
    uses the seeds that the contract names, and so does whatever stays the same throughout. Everything else is
    secret."""

    def __init__(self, logicals: list[Logical], secret: Secret, source: Export | None) -> None:
        self._logicals = logicals
        self._secret = secret
        self.source = source
        self._kept: dict[int, torch.Tensor] = {}
        self._first: list[int] = []
        self._varying: set[int] = set()
        self._sets_seen: set[tuple[int, ...]] = set()
        self._sets_looked_at = 0
        self._known: set[tuple[str, int, int]] = set()
        self.cost_s = 0.0

    @property
    def logicals(self) -> list[Logical]:
        return self._logicals

    @property
    def is_told(self) -> bool:
        """Whether another process than the judge's knows what is drawn, because it draws it."""
        return self.source is not None

    def is_secret(self, index: int) -> bool:
        """Whether the content changes from call to call in a way that a kernel cannot know.

        What a source draws counts as secret only once two draws differed: get_inputs() may ignore the seed that it is
        given.
        """
        logical = self._logicals[index]
        if logical.spec is None:
            return index in self._varying
        return not _is_constant(logical)

    @property
    def repeats(self) -> bool:
        """Whether a set of inputs came again, although there was not only one set for ever."""
        return 1 < len(self._sets_seen) < self._sets_looked_at

    @property
    def never_varied(self) -> bool:
        """Whether what should change from call to call has been the same in all of them. A contract may ask for numbers
        that are so near to each other that they are rounded to one, or for no numbers at all."""
        return self._sets_looked_at > 1 and not self._varying

    @property
    def unchanging(self) -> list[str]:
        """Tensors that the source has drawn the same every time, beside others that vary. A single number is left out:
        it is rather a setting."""
        if not self._varying:
            return []
        left = [item for index, item in enumerate(self._logicals) if index not in self._varying]
        return [item.name for item in left if item.spec is None and item.tensor.count > 1]

    def draw(self, purpose: str, number: int, slots: list[int], *, deadline: float) -> list[torch.Tensor]:
        """Every logical input for every slot: one tensor [slots, *shape] each; an expanded one for constants.

        Equal arguments give equal content within one evaluation. What a source draws depends on the slot, what we draw
        on its place among them. `cost_s`: seconds per slot.
        """
        start = time.perf_counter()
        drawn = self._from_source(purpose, number, slots, deadline) if self.source else []
        # Outputs that start with given content come after what the source makes.
        drawn += [self._from_spec(i, purpose, number, len(slots)) for i in range(len(drawn), len(self._logicals))]
        self.cost_s = (time.perf_counter() - start) / len(slots)
        self._note_sets(drawn, [(purpose, number, name) for name in (slots if self.source else range(len(slots)))])
        return drawn

    def _from_source(self, purpose: str, number: int, slots: list[int], deadline: float) -> list[torch.Tensor]:
        assert self.source is not None
        return self.source.sets([self._secret.seed("inputs", purpose, number, slot) for slot in slots], deadline)

    def _note_sets(self, drawn: list[torch.Tensor], names: list[tuple[str, int, int]]) -> None:
        """Compare what was drawn with what was drawn before. `names`: what each set was drawn for; the same name has
        the same content. What the contract itself declares fixed is left out."""
        if self._sets_looked_at >= _SETS_LOOKED_AT:
            drawn, names = [tensors[:1] for tensors in drawn], names[:1]
        changing = [index for index, logical in enumerate(self._logicals) if not _is_constant(logical)]
        if not changing:
            return
        sums = checksums([self._telling(index, drawn[index]) for index in changing])
        fresh = [position for position, name in enumerate(names) if name not in self._known]
        self._known.update(names)
        self._sets_seen.update(tuple(found[position] for found in sums) for position in fresh)
        self._sets_looked_at += len(fresh)
        self._first = self._first or [found[0] for found in sums]
        for index, first, found in zip(changing, self._first, sums, strict=True):
            if set(found) != {first}:
                self._varying.add(index)

    def _telling(self, index: int, tensors: torch.Tensor) -> torch.Tensor:
        """What two sets differ in if they differ at all: of numbers that we draw at random, some thousands are
        enough."""
        return tensors if self._logicals[index].spec is None else tensors.reshape(tensors.shape[0], -1)[:, :_TELLING]

    def _from_spec(self, index: int, purpose: str, number: int, count: int) -> torch.Tensor:
        logical = self._logicals[index]
        spec = logical.spec
        assert spec is not None  # otherwise the source draws it
        declared = spec.init.seed if spec.init else None
        if declared is not None and (logical.static or (purpose == "check" and number == 0)):
            generator = torch.Generator(self._secret.device).manual_seed(declared)
        else:
            generator = self._secret.generator("input", purpose, number, index)
        try:
            if not _is_constant(logical):
                return draw(spec, generator, count)
            if index not in self._kept:
                self._kept[index] = draw(spec, generator)
            return self._kept[index].expand(count, *spec.dims)
        except (ValueError, OverflowError, TypeError) as error:
            raise CannotWire(f"{logical.name} cannot be made as its contract says: {error}") from error


def _is_constant(logical: Logical) -> bool:
    """Whether the contract itself says that the content stays the same."""
    return logical.spec is not None and (logical.static or is_fixed(logical.spec))


def checksums(many: list[torch.Tensor]) -> list[list[int]]:
    """For each tensor, [slots, *shape], one number per slot: equal for equal bits, and for others different but by
    chance, even if only their order differs. To keep the tensors themselves would double their memory. They are read
    once.

    Small tensors of one size are summed together: a step of an optimizer has hundreds.
    """
    slots = many[0].shape[0]
    alike: dict[tuple[int, ...], list[int]] = {}
    words = {index: _words(tensors) for index, tensors in enumerate(many) if tensors.numel()}
    for index, found in words.items():
        is_small = found.numel() * found.itemsize <= _SUMMED_TOGETHER
        alike.setdefault((found.shape[1], found.itemsize) if is_small else (index,), []).append(index)
    sums = torch.zeros(slots, len(many), dtype=torch.int64, device=many[0].device)
    for group in alike.values():
        if len(group) == 1:
            sums[:, group[0]] = _row_sums(words[group[0]])
        else:
            rows = torch.stack([words[index] for index in group], dim=1).flatten(end_dim=1)
            sums[:, group] = _row_sums(rows).view(slots, len(group))
    totals: list[list[int]] = sums.t().tolist()
    return totals


def _words(tensors: torch.Tensor) -> torch.Tensor:
    """[slots, words] of integers."""
    return lanes(tensors.reshape(tensors.shape[0], -1).contiguous().view(torch.uint8))


def _row_sums(words: torch.Tensor) -> torch.Tensor:
    """One sum per row, as `checksums`."""
    columns = min(words.shape[1], _COLUMNS)
    whole = words.shape[1] // columns * columns
    sums = torch.zeros(words.shape[0], columns, dtype=torch.int64, device=words.device)
    step = max(1, _SUMMED_AT_ONCE // (words.shape[0] * columns)) * columns
    for first in range(0, whole, step):  # what is no int64 is summed as a copy that is
        piece = words[:, first : min(first + step, whole)]
        sums += piece.view(words.shape[0], -1, columns).sum(dim=1, dtype=torch.int64)
    sums[:, : words.shape[1] - whole] += words[:, whole:]
    generator = torch.Generator(words.device).manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, (columns,), generator=generator, device=words.device) | 1
    return (sums * factors).sum(dim=1)
