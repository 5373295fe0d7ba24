"""The reference's weights in the candidate's module, and what is told of those that are not there."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from daemon.executor.cells.capture import printable
from daemon.executor.cells.conversation import Cell
from daemon.executor.content.exports import Export
from daemon.executor.shared.protocol import Message
from daemon.verdict import Phase

_HOW_COPIED = (
    "The reference's weights are copied by name and shape, and no hook of load_state_dict runs: use its names; or, for "
    "weights that are fused, make its layers in the constructor as it does, which has the same seed, and yours of them"
)


class Weights:
    """Of one case. What a cell says of its weights goes into `notes`; all of it is in `own`."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._of_own: list[str] = []
        self._constant: dict[str, bytes] = {}

    @property
    def own(self) -> str:
        """What to say of a candidate whose weights are its own, when it is wrong."""
        return "; ".join(self._of_own)

    @property
    def constant(self) -> tuple[str, ...]:
        """Those of the reference that had one value only when they were shared."""
        return tuple(self._constant)

    def note_lazy(self, said: Any) -> None:
        """What the reference has of weights that are drawn too late to be shared, as its cell says."""
        if names := _names(said):
            self._say(
                "weights that the reference's first call makes, so that no custom module can be given them: "
                f"{', '.join(names)}; let its constructor make them (Linear for LazyLinear, with all sizes)"
            )

    def share(self, state: Export, candidate: Cell, deadline: float) -> None:
        """`state`, the reference's, into the module of `candidate`, where names and shapes match."""
        state.describe(0, deadline)
        if not state.shapes:
            return
        with closing(state.fetch(deadline)) as memory:
            self._constant = state.constant(memory)
            answer = candidate.request(
                {"type": "adopt", "tree": state.node, "memory": memory.as_message(), **state.as_message()},
                "adopted",
                phase=Phase.LOAD,
                deadline=deadline,
                fds=memory.fds,
            )
        self._note(answer)

    def _note(self, answer: Message) -> None:
        """Which weights the candidate has not taken over, as its cell says, or had made otherwise."""
        theirs, own = (_names(answer.get(key)) for key in ("theirs", "own"))
        if theirs and (own or not answer.get("copied")):
            self._say(
                f"weights of the reference without a counterpart of the same name and shape: {', '.join(theirs)}; "
                f"of the custom module: {', '.join(own) or 'none'}. {_HOW_COPIED}"
            )
            return
        if theirs:
            self._of_own.append(f"the custom module does not have {', '.join(theirs)}. {_HOW_COPIED}")
        if other := _names(answer.get("other")):
            self._of_own.append(
                f"the custom module's constructor had made {', '.join(other)} otherwise, and the reference's were "
                "copied over that: what is scaled, folded or laid out anew needs a name or a shape of its own"
            )

    def _say(self, text: str) -> None:
        """Whatever the verdict is; where an answer is wrong, there as well."""
        self._of_own.append(text)
        self._notes.append(text)

    def unvaried(self, state: Export, deadline: float) -> list[str]:
        """Those that are `constant`, and that calls have left as they were: no other values will ever tell whether they
        matter. A tensor that calls change, such as a running mean, is not among them. `state`: the constant ones as
        they are now."""
        state.describe(0, deadline)
        before = self._constant
        if state.shapes:
            with closing(state.fetch(deadline)) as memory:
                now = state.constant(memory)
            before = {name: value for name, value in before.items() if now.get(name) == value}
        return _names(list(before))


def _names(said: Any) -> list[str]:
    """The first names of tensors as a cell gave them, fit to be shown."""
    return [printable(str(name)[:200]) for name in said[:20]] if isinstance(said, list) else []
