"""Edits TOML that a person wrote: inserts and removes tables and keys, and leaves every other character alone.

A library that parses a document and writes it again moves comments between tables; here only the requested part is
changed. A document in a rare form, such as all accounts in one inline table, or one that is not valid TOML, gives a
wrong result: the caller must parse the result and compare.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

Path = tuple[str, ...]


def put(text: str, table: Path, keys: Mapping[str, object]) -> str:
    """Return the text with those keys in that table, appended if it is missing; None removes a key."""
    for key, value in keys.items():
        text = _put_key(text, table, key, value)
    return text


def remove(text: str, table: Path) -> str:
    """Return the text without that table and the comments between its lines.

    A comment above or below it stays: it may be about something else.
    """
    runs = groupby(_statements(text), key=lambda statement: statement.is_in(table))
    for own in reversed([list(run) for is_own, run in runs if is_own]):
        text = _cut(text, own[0].start, own[-1].end)
    return text


def rename(text: str, table: Path, name: str) -> str:
    """Return the text with another name for that table, which stays where it is: the last part of its path."""
    for statement in reversed([statement for statement in _statements(text) if statement.is_in(table)]):
        # The first parts of a key's path are in the header above it.
        at = len(table) - 1 - (len(statement.path) - len(statement.names))
        if at >= 0:
            begin, end = statement.names[at]
            text = text[:begin] + toml_key(name) + text[end:]
    return text


def substitute(text: str, path: Path, old: str, new: str) -> str:
    """Return the text with another string wherever that key, also of several tables of one name, has the old one."""
    for statement in reversed([statement for statement in _statements(text) if statement.path == path]):
        if statement.value is not None:
            begin, end = statement.value
            if tomllib.loads(f"value = {text[begin:end]}") == {"value": old}:
                text = text[:begin] + toml_value(new) + text[end:]
    return text


@dataclass(frozen=True, slots=True)
class _Statement:
    """A table's header, or a key with its value: offsets of its lines, of the names in it and of the value.

    `lead` precedes its name.
    """

    path: Path
    start: int
    end: int
    lead: str
    names: tuple[tuple[int, int], ...]
    value: tuple[int, int] | None = None

    def is_in(self, table: Path) -> bool:
        return self.path[: len(table)] == table


def _put_key(text: str, table: Path, key: str, value: object) -> str:
    here = (*table, key)
    same = [statement for statement in _statements(text) if statement.is_in(here)]
    if value is not None and same and same[0].value is not None and same[0].path == here:
        begin, end = same[0].value
        return text[:begin] + toml_value(value) + text[end:]
    for statement in reversed(same):
        text = _cut(text, statement.start, statement.end)
    return text if value is None else _insert(text, table, f"{toml_key(key)} = {toml_value(value)}")


def _insert(text: str, table: Path, line: str) -> str:
    """Return the text with a line added to that table, indented as its other lines."""
    line_end = _line_end(text)
    statements = list(_statements(text))
    own = [statement for statement in statements if statement.value is not None and statement.path[:-1] == table]
    above = own or [statement for statement in statements if statement.value is None and statement.path == table]
    if not above:
        if text:
            text += line_end if text.endswith("\n") else 2 * line_end
        return f"{text}[{'.'.join(map(toml_key, table))}]{line_end}{line}{line_end}"
    at, lead = above[-1].end, above[-1].lead
    if text[at - 1] != "\n":  # the last line
        return f"{text}{line_end}{lead}{line}"
    return f"{text[:at]}{lead}{line}{line_end}{text[at:]}"


def _cut(text: str, start: int, end: int) -> str:
    """Return the text without those lines and one of the empty lines around them."""
    before, after = text[:start], text[end:]
    if not after or _EMPTY_LINE.match(after):
        above = _EMPTY_LINE_ABOVE.search(before)
        if above:
            before = before[: above.end(1)]
        elif not before:
            after = _EMPTY_LINE.sub("", after, count=1)
    return before + after


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def toml_value(value: object) -> str:
    """Return a value as TOML: strings, numbers, booleans, lists and tables of them."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_key(str(key))} = {toml_value(item)}' for key, item in value.items())} }}"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"  # pyright: ignore[reportUnknownArgumentType] -- any list
    # Numbers, booleans and strings are as in JSON, except this character, which JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def toml_key(key: str) -> str:
    """Return a key as TOML, quoted if needed."""
    return key if _BARE.fullmatch(key) else toml_value(key)


# ---- reading: where each header and key stands

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PIECE: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_PIECE}(?:[ \t]*\.[ \t]*{_PIECE})*"
_PIECES: Final = re.compile(_PIECE)
_HEADER: Final = re.compile(rf"([ \t]*)\[\[?[ \t]*({_DOTTED})[^\n]*\n?")
_KEY: Final = re.compile(rf"([ \t]*)({_DOTTED})[ \t]*=[ \t]*")
_OTHER_LINE: Final = re.compile(r"[^\n]*\n?")
_EMPTY_LINE: Final = re.compile(r"[ \t]*\r?\n")
_EMPTY_LINE_ABOVE: Final = re.compile(r"(\n|\A)[ \t]*\r?\n\Z")
_IN_VALUE: Final = re.compile(
    r'(?P<text>"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')'
    r"|(?P<comment>#[^\n]*)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<line_end>\n)|(?P<blank>[ \t\r]+)|[^\"'#\[\]{}\s]+|.",
    re.DOTALL,
)


def _statements(text: str) -> Iterator[_Statement]:
    table: Path = ()
    at = 0
    while at < len(text):
        if header := _HEADER.match(text, at):
            table = tuple(_pieces(header[2]))
            yield _Statement(table, at, header.end(), header[1], _spans(header))
            at = header.end()
        elif key := _KEY.match(text, at):
            names = _spans(key)
            value, end = _value(text, key.end())
            lead = text[at : names[-1][0]]
            yield _Statement((*table, *_pieces(key[2])), at, end, lead, names, (key.end(), value))
            at = end
        else:
            line = _OTHER_LINE.match(text, at)
            at = len(text) if line is None else line.end()


def _spans(statement: re.Match[str]) -> tuple[tuple[int, int], ...]:
    """Return the offsets of the names in a header or a key."""
    return tuple(piece.span() for piece in _PIECES.finditer(statement.string, *statement.span(2)))


def _pieces(dotted: str) -> Iterator[str]:
    for piece in re.findall(_PIECE, dotted):
        yield str(tomllib.loads(f"key = {piece}")["key"]) if piece[0] in "\"'" else piece


def _value(text: str, at: int) -> tuple[int, int]:
    """Return the end of the value that begins there, and the end of its last line."""
    depth, end = 0, at
    for token in _IN_VALUE.finditer(text, at):
        kind = token.lastgroup
        if kind == "line_end" and depth == 0:
            return end, token.end()
        depth += (kind == "open") - (kind == "close")
        if kind not in ("comment", "blank", "line_end"):
            end = token.end()
    return end, len(text)
