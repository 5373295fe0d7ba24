"""How far each answer of a case may be off: as the output's own declaration says, else the contract, else its dtype."""

from __future__ import annotations

from daemon.contract import DTYPES, Category, IOContract, TensorSpec
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.verify import Tolerance, tolerance_for
from daemon.executor.timing.side import SidePlace


def tolerances_of(candidate: SidePlace, request: Request, declared: list[IOContract | None]) -> list[Tolerance]:
    """One for each of the candidate's answers, in order. `declared`: the io of the candidate and of the reference. The
    stricter of the two counts: who writes a kernel, and how it is called, must not widen what the reference allows."""
    found = []
    for position, index in enumerate(candidate.wiring.answer):
        specs = [spec for io in declared if io and (spec := _declared_output(position, candidate, io))]
        dtype = candidate.wiring.fields[index].tensor.dtype
        atol, rtol = _for_all_outputs(request, dtype)
        atol = min((spec.atol for spec in specs if spec.atol is not None), default=atol)
        rtol = min((spec.rtol for spec in specs if spec.rtol is not None), default=rtol)
        found.append(tolerance_for(dtype, atol, rtol))
    return found


def _for_all_outputs(request: Request, dtype: str) -> tuple[float | None, float | None]:
    """The contract's own `atol` and `rtol`, as far as they are meant for this dtype: what is near enough for numbers
    that are rounded is, as a share of an index, another element."""
    known = DTYPES.get(dtype)  # None: a dtype that no contract can declare; all of these are rounded
    if known is None or not known.exact:
        return request.atol, request.rtol
    return (None, None) if known.category is Category.BOOL else (request.atol, None)


def _declared_output(position: int, candidate: SidePlace, io: IOContract) -> TensorSpec | None:
    """What an io says of one of the answers: in their order, whether the kernel writes or returns them."""
    wiring = candidate.wiring
    kept = {wiring.fields[index].name for index in wiring.kept}
    name = wiring.fields[wiring.answer[position]].name
    outputs = [arg for arg in io.args if arg.is_output]
    if name in kept:
        return next((arg.tensor_spec for arg in outputs if arg.name == name), None)
    returned = [arg.tensor_spec for arg in outputs if arg.name not in kept]
    if len(returned) != len(wiring.returned):
        return None
    return returned[wiring.returned_places.index(position)]
