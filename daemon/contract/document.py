"""Reading a contract's JSON strictly: every problem with its line, and no input that costs more than its size.

The standard reader forgives duplicate keys and NaN, and answers hostile input with RecursionError or minutes of work.
This one bounds depth, the number of values and the length of a number, and goes on after whatever it can skip.
"""

from __future__ import annotations

import codecs
import json
import math
import re

from pydantic import JsonValue

from daemon.contract.problems import MAX_PROBLEMS, ProblemLog, child, shown

CONTRACT_FILE = "contract.json"  # its name in a bundle that is a folder
MAX_DEPTH = 64
MAX_VALUES = 100_000
_MAX_NUMBER_CHARACTERS = 400
_MAX_INT_DIGITS = 40

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_HALF_PAIR = re.compile("[\\ud800-\\udfff]")
_WORD = re.compile(r"-?[A-Za-z_][A-Za-z_0-9]*")
_LITERALS: dict[str, JsonValue] = {"true": True, "false": False, "null": None}
_NON_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_COMMENT = re.compile(r"//|/\*|#")
_OTHER_LANGUAGES = {"True": "true", "False": "false", "None": "null", "nil": "null", "undefined": "null"}
_LINE_ENDS = "write a line's end as \\n, or put the source into a file of its own and name that in source_file"
_STRING = json.JSONDecoder()
_ZIP = "a zip archive, not JSON; a bundle that is one is called NAME.zip"
_PACKED = {
    b"PK\x03\x04": _ZIP,
    b"PK\x05\x06": _ZIP,
    b"\x1f\x8b": "packed with gzip, not JSON; a bundle that is a packed archive is called NAME.tar.gz",
}


def read_document(document: bytes, limit_bytes: int, log: ProblemLog) -> dict[str, JsonValue] | None:
    """The JSON object in `document`, or None where nothing can be made of it. All problems go to `log`.

    A value that cannot be kept (NaN, a number that fits no type) is null in the answer and its field is spoiled.
    """
    if len(document) > limit_bytes:
        log.add("", f"the contract has {len(document)} bytes, the limit is {limit_bytes}")
        return None
    text = _decoded(document, log)
    if text is None:
        return None
    try:
        value = _Reader(text, log).document()
    except _JsonError as error:
        log.add("", f"line {text.count(chr(10), 0, error.position) + 1}: {error.message}", error.suggestion)
        return None
    if not isinstance(value, dict):
        log.add("", f"line 1: a contract is a JSON object {{…}}, this is {shown(value)}")
        return None
    return value


def _decoded(document: bytes, log: ProblemLog) -> str | None:
    if document.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        log.add("", "line 1: the contract is UTF-16; save it as UTF-8")
        return None
    packed = next((what for beginning, what in _PACKED.items() if document.startswith(beginning)), None)
    if packed is not None:
        log.add("", f"line 1: the contract is {packed}")
        return None
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        log.add("", f"line {line}: not valid UTF-8 (byte {error.start})")
        return None
    if not text.strip():
        log.add("", "line 1: the contract is empty")
        return None
    return text


class _JsonError(ValueError):
    def __init__(self, message: str, position: int, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.suggestion = suggestion


class _Reader:
    """Recursive descent over one text; `MAX_DEPTH` bounds the recursion."""

    def __init__(self, text: str, log: ProblemLog) -> None:
        self.text = text
        self.log = log
        self._values = 0

    def document(self) -> JsonValue:
        value, position = self._value(self._skip(0), "", 0)
        position = self._skip(position)
        if position < len(self.text):
            raise _JsonError(f"unexpected {self._here(position)} after the end of the object", position)
        return value

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def _here(self, position: int) -> str:
        """What stands there where something else has to, and what JSON thinks of it."""
        rest = self.text[position : position + 12].split("\n")[0]
        if not rest:
            return "end of line" if position < len(self.text) else "end of text"
        return shown(rest) + (": JSON has no comments, leave them out" if _COMMENT.match(rest) else "")

    def _value(self, position: int, path: str, depth: int) -> tuple[JsonValue, int]:
        if depth > MAX_DEPTH:
            raise _JsonError(f"nested more than {MAX_DEPTH} deep", position)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _JsonError(f"more than {MAX_VALUES} values", position)
        match self.text[position : position + 1]:
            case "{":
                return self._object(position, path, depth)
            case "[":
                return self._array(position, path, depth)
            case '"':
                return self._string(position, path)
        return self._number(position, path) or self._word(position, path)

    def _object(self, start: int, path: str, depth: int) -> tuple[JsonValue, int]:
        result: dict[str, JsonValue] = {}
        position = self._skip(start + 1)
        while not self.text.startswith("}", position):
            if not self.text.startswith('"', position):
                raise _JsonError(f"expected a key in double quotes, found {self._here(position)}", position)
            key_at = position
            key, position = self._string(position, path)
            field = child(path, key)
            if key in result:
                self.log.add(field, self._at(key_at, "the key is given twice"))
            position = self._skip(position)
            if not self.text.startswith(":", position):
                raise _JsonError(f"expected ':' after the key {shown(key)}, found {self._here(position)}", position)
            result[key], position = self._value(self._skip(position + 1), field, depth + 1)
            position = self._next(position, "}")
        return result, position + 1

    def _array(self, start: int, path: str, depth: int) -> tuple[JsonValue, int]:
        result: list[JsonValue] = []
        position = self._skip(start + 1)
        while not self.text.startswith("]", position):
            value, position = self._value(position, child(path, len(result)), depth + 1)
            result.append(value)
            position = self._next(position, "]")
        return result, position + 1

    def _next(self, position: int, closing: str) -> int:
        """Where the next entry starts, or the closing bracket stands."""
        position = self._skip(position)
        if self.text.startswith(closing, position):
            return position
        if not self.text.startswith(",", position):
            raise _JsonError(f"expected ',' or {closing!r}, found {self._here(position)}", position)
        following = self._skip(position + 1)
        if self.text.startswith(closing, following):
            raise _JsonError(f"a comma before {closing!r} is not allowed in JSON", position)
        return following

    def _string(self, start: int, path: str) -> tuple[str, int]:
        try:
            value, end = _STRING.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            raise _JsonError(f"in a text: {self._about_text(error)}", error.pos) from error
        text = str(value)
        if not text and self.text.startswith('"', end):
            raise _JsonError(f"JSON has no texts in three quotes: {_LINE_ENDS}", start)
        if "\0" in text:
            self.log.spoil(path, self._at(start, "a text may not contain the character NUL"))
            text = text.replace("\0", "")
        if not text.isascii() and _HALF_PAIR.search(text):
            self.log.spoil(path, self._at(start, "half a surrogate pair (U+D800 to U+DFFF) is not a character"))
            text = text.encode("utf-8", "replace").decode("utf-8")
        return text, end

    def _about_text(self, error: json.JSONDecodeError) -> str:
        if self.text[error.pos : error.pos + 1] in ("\n", "\r"):
            return f"it has to end in its line: close it with a quote, {_LINE_ENDS}"
        if error.msg.startswith("Unterminated"):
            return "the contract ends before the text that begins here does"
        return error.msg.removesuffix(" at").lower()

    def _number(self, start: int, path: str) -> tuple[JsonValue, int] | None:
        match = _NUMBER.match(self.text, start)
        if match is None:
            return None
        literal = match.group()
        whole = match.group(1) is None and match.group(2) is None
        if len(literal) > (_MAX_INT_DIGITS if whole else _MAX_NUMBER_CHARACTERS):
            self.log.spoil(path, self._at(start, f"a number of {len(literal)} digits fits no type"))
            return None, match.end()
        if whole:
            return int(literal), match.end()
        number = float(literal)
        if math.isinf(number):
            self.log.spoil(path, self._at(start, f"{literal} is too large for a number"))
            return None, match.end()
        return number, match.end()

    def _word(self, start: int, path: str) -> tuple[JsonValue, int]:
        match = _WORD.match(self.text, start)
        word = match.group() if match else ""
        if match is None or not (word in _LITERALS or word in _NON_FINITE):
            raise _JsonError(f"expected a value, found {self._here(start)}", start, _OTHER_LANGUAGES.get(word))
        if word in _LITERALS:
            return _LITERALS[word], match.end()
        suggestion = f'"{_NON_FINITE[word]}"' if path.endswith((".value", ".fill_value")) else None
        self.log.spoil(path, self._at(start, f"JSON has no {word}"), suggestion)
        return None, match.end()

    def _at(self, position: int, message: str) -> str:
        """`message` with its line. To count lines is a pass over the text, so that is done for so many problems
        only."""
        if len(self.log.problems) >= MAX_PROBLEMS:
            raise _JsonError(f"gave up after {MAX_PROBLEMS} problems", position)
        return f"line {self.text.count(chr(10), 0, position) + 1}: {message}"
