"""Collecting everything that is wrong, in words a person can act on: field paths, nearest names, readable sentences."""

from __future__ import annotations

import copy
import difflib
import heapq
import itertools
import json
import reprlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from daemon.contract.keys import further_inside, nickname_of, symbol_inside
from daemon.contract.words import Word
from daemon.errors import BundleError, Problem
from daemon.sentences import sentence

MAX_PROBLEMS = 100  # reported one by one; the rest is counted
_BEGINNING = 3  # letters that are enough if only one name begins with them
# How similar a suggestion must be; names shorter than `_SHORT` have few letters to share.
_CLOSE, _CLOSE_SHORT, _SHORT = 0.7, 0.6, 4
_MAX_NAME = 100  # of one that is told as it is
_MAX_COMPARED = 64  # longer names are not compared with known ones: the comparison is quadratic
_MOST_ALIKE, _MOST_KNOWN = 8, 2000  # how many names are compared: of the first 2000, those that share the most letters

M = TypeVar("M", bound=BaseModel)
Suggestion = str | Callable[[], str | None] | None  # what was probably meant, or a function that finds it


class _AsWritten(reprlib.Repr):
    """Words of JSON as contracts have them; all else as Python writes it."""

    def repr_bool(self, value: bool, _level: int) -> str:
        return str(value).lower()

    def repr_NoneType(self, _value: None, _level: int) -> str:  # noqa: N802 - reprlib finds it by the type's name
        return "null"


_short = _AsWritten()
_short.maxstring = _short.maxother = 60
_short.maxlong = 60


def shown(value: object) -> str:
    """`value` as it is in the contract, with texts as Python would write them, cut to a length that fits a message."""
    return _short.repr(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The entry of `known` most like `name`, or None when nothing is close.

    Only a few are compared: two names that were made for it take ten milliseconds.
    """
    if len(name) > _MAX_COMPARED:
        return None
    by_lower = {entry.lower(): entry for entry in itertools.islice(known, _MOST_KNOWN) if len(entry) <= _MAX_COMPARED}
    matches = difflib.get_close_matches(
        name.lower(),
        _most_alike(name.lower(), by_lower),
        n=1,
        cutoff=_CLOSE_SHORT if len(name) < _SHORT else _CLOSE,
    )
    return by_lower[matches[0]] if matches else None


def _most_alike(name: str, known: Collection[str]) -> Collection[str]:
    """Those of `known` that share the most letters with `name`, in whatever order."""
    if len(known) <= _MOST_ALIKE:
        return known
    comparison = difflib.SequenceMatcher(b=name)

    def likeness(entry: str) -> float:
        comparison.set_seq1(entry)
        return comparison.quick_ratio()

    return heapq.nlargest(_MOST_ALIKE, known, key=likeness)


def _meant(word: str, choices: Iterable[str]) -> str | None:
    """The one of a few words that was meant by `word`: one that begins with it, `output` for `out`, or the one most
    like it."""
    choices = list(choices)
    begun = [choice for choice in choices if len(word) >= _BEGINNING and choice.startswith(word.lower())]
    return begun[0] if len(begun) == 1 else nearest(word, choices)


def meant_key(written: str, known: Iterable[str], model: type[BaseModel] | None = None) -> str | None:
    """The key that was meant by an unknown one: one of `known` under another name, one further inside of a `model`, or
    the one most like it."""
    known = list(known)
    inside = further_inside(written, model) if model is not None else None
    return nickname_of(written, known) or inside or nearest(written, known)


def child(path: str, step: str | int) -> str:
    """The field `step` inside `path`: `kernel.io` + `args` -> `kernel.io.args`, + 2 -> `kernel.io.args[2]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    name = step if step.isprintable() and 0 < len(step) <= _MAX_NAME else shown(step)
    return f"{path}.{name}" if path else name


def not_text(value: object) -> str:
    """What is wrong with a value that stands where a text belongs. For a list of lines, as notebooks keep sources, also
    what to do."""
    are_lines = isinstance(value, list) and bool(value) and all(isinstance(line, str) for line in value)
    remark = "; join the lines with \\n, or put them into a file of their own" if are_lines else ""
    return f"must be text, got {shown(value)}{remark}"


def settled(suggestion: Suggestion) -> str | None:
    """A suggestion as it is shown."""
    return suggestion() if callable(suggestion) else suggestion


def complaint(message: str, suggestion: Suggestion = None) -> PydanticCustomError:
    """The error a field validator raises: its message reaches the user as it is."""
    return PydanticCustomError("contract", "{message}", {"message": message, "suggestion": suggestion})


class ProblemLog:
    """The problems and warnings found so far in one contract file. `is_brief`: do not look for what was meant."""

    def __init__(self, file: str, *, is_brief: bool = False) -> None:
        self.file = file
        self._is_brief = is_brief
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._left_out = 0
        self._spoiled: set[str] = set()

    def add(self, field: str, message: str, suggestion: Suggestion = None) -> None:
        """Note one problem. What follows from a value that could not be read at all is not reported again."""
        if field in self._spoiled:
            return
        if len(self.problems) < MAX_PROBLEMS:
            meant = None if self._is_brief else settled(suggestion)
            self.problems.append(Problem(self.file, field, message, meant))
        else:
            self.leave_out()

    @property
    def is_full(self) -> bool:
        """Whether what else is wrong is only counted."""
        return len(self.problems) >= MAX_PROBLEMS

    def leave_out(self) -> None:
        """Count one more."""
        self._left_out += 1

    def spoil(self, field: str, message: str, suggestion: str | None = None) -> None:
        """Note a problem of the text at `field`, and stay silent about that field from then on."""
        self.add(field, message, suggestion)
        self._spoiled.add(field)

    def caution(self, field: str, message: str, suggestion: Suggestion = None) -> None:
        """Note something that is probably a mistake but changes nothing."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(Problem(self.file, field, message, settled(suggestion)))

    def raise_if_any(self) -> None:
        """Raise `BundleError` with every problem noted, if there is one."""
        if not self.problems:
            return
        if self._left_out:
            self.problems.append(Problem(self.file, "", f"and {self._left_out} more problems"))
        raise BundleError(self.problems)


def read_model(model: type[M], raw: object, path: str, log: ProblemLog) -> M | None:
    """`raw` as a `model`, or None with every problem noted under `path`."""
    if not isinstance(raw, dict):
        log.add(path, f"must be an object, got {shown(raw)}")
        return None
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        note_faults(model, error, path, log)
        return None


def note_faults(model: type[BaseModel], error: ValidationError, path: str, log: ProblemLog) -> None:
    """Note every problem that `model` has found, under `path`."""
    for detail in error.errors(include_url=False)[:MAX_PROBLEMS]:
        if log.is_full:  # to find what was meant takes a millisecond, and there may be a hundred thousand
            log.leave_out()
            continue
        field, message, suggestion = _explained(model, detail)
        log.add(_joined(path, field), message, suggestion)


def without_unknown_keys(model: type[M], raw: object) -> M | None:
    """`raw` as a `model`, if leaving out its unknown keys is all it takes. So what else is wrong is found too."""
    known = copy.deepcopy(raw)
    try:
        return model.model_validate(known)
    except ValidationError as error:
        details = error.errors(include_url=False)
    if not all(detail["type"] == "extra_forbidden" for detail in details):
        return None
    for detail in details:
        *steps, key = detail["loc"]
        holder: Any = known
        for step in steps:
            holder = holder[step]
        del holder[key]
    return model.model_validate(known)


def _joined(path: str, steps: tuple[str | int, ...]) -> str:
    for step in steps:
        path = child(path, step)
    return path


_NOTHING_TO_SHOW = ("missing", "string_too_short", "too_long", "too_short", "string_too_long")


def _explained(model: type[BaseModel], detail: ErrorDetails) -> tuple[tuple[str | int, ...], str, Suggestion]:
    """Field steps, sentence and suggestion for one pydantic error."""
    kind, context = detail["type"], detail.get("ctx", {})
    steps = tuple(step for step in detail["loc"] if step != "[key]")
    if kind == "contract":
        return steps, context["message"], context["suggestion"]
    if kind == "extra_forbidden":
        parent = _class_in(_annotation_at(model, steps[:-1]), BaseModel)
        known = tuple(parent.model_fields) if parent else ()
        key = str(steps[-1])
        meant = symbol_inside(key, detail["input"], parent) or meant_key(key, known, parent)
        return steps, f"is not a known key here (known: {', '.join(known)})", meant
    got = shown(detail["input"])
    if kind == "enum":
        return steps, *_not_of_the_words(_class_in(_annotation_at(model, steps), Word), detail["input"])
    if kind == "string_type":
        return steps, not_text(detail["input"]), None
    text = sentence(kind, context)
    if text is None:
        return steps, f"{detail['msg']} (got {got})", None
    around = _put_around(_class_in(_annotation_at(model, steps), BaseModel), kind, detail["input"])
    return steps, text if kind in _NOTHING_TO_SHOW else f"{text}, got {got}", around


def _put_around(model: type[BaseModel] | None, kind: str, given: object) -> str | None:
    """The list or the object, in JSON, that was meant by a number or a short text: `[512]` for 512 and "(512,)",
    `{"kind": "randn"}` for "randn" where an object needs nothing but its kind."""
    if isinstance(given, bool) or not isinstance(given, int | float | str) or len(str(given)) > _MAX_NAME:
        return None
    if kind in ("list_type", "tuple_type"):
        items = [item.strip() for item in str(given).strip("[]() ").split(",") if item.strip()]
        numbers = [int(item) for item in items if item.isascii() and item.isdigit()]
        return json.dumps(numbers if len(numbers) == len(items) else [given])
    needed = [name for name, field in model.model_fields.items() if field.is_required()] if model else []
    is_object = kind in ("model_type", "model_attributes_type") and len(needed) == 1
    return json.dumps({needed[0]: given}) if is_object else None


def _not_of_the_words(words: type[Word] | None, given: object) -> tuple[str, str | None]:
    """Sentence and suggestion for what is none of `words`."""
    choices, written = [str(word) for word in words or ()], str(given)[:200]
    remark = words.remarks().get(written.lower()) if words else None
    meant = (words.meant(written) if words else None) or _meant(written, choices)
    return f"must be one of {', '.join(choices)}, got {shown(given)}{f'; {remark}' if remark else ''}", meant


def _annotation_at(model: type[BaseModel], steps: tuple[str | int, ...]) -> Any:
    """The declared type of the field that `steps` lead to; list positions do not change it."""
    annotation: Any = model
    for step in steps:
        inside = _class_in(annotation, BaseModel)
        if isinstance(step, int) or inside is None:
            continue
        field = inside.model_fields.get(step)
        annotation = field.annotation if field else None
    return annotation


T = TypeVar("T")


def _class_in(annotation: Any, base: type[T]) -> type[T] | None:
    """The first subclass of `base` named anywhere in a type annotation."""
    if get_origin(annotation) is None:
        return annotation if isinstance(annotation, type) and issubclass(annotation, base) else None
    found = (_class_in(argument, base) for argument in get_args(annotation))
    return next((cls for cls in found if cls is not None), None)
