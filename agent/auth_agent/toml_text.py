"""TOML as a text that a person wrote: tables and keys put in and taken out, and every other character left alone.

A library that reads a document and writes it again moves comments between tables; here only what was asked for is
cut or put in. What is written in a rare way, such as all accounts in one inline table, gives nonsense, and so does a
text that is no TOML: the caller finds that by reading the result.
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
    """The text with those keys in that table, which is made at the end where there is none; None takes a key out."""
    for key, value in keys.items():
        text = _put_key(text, table, key, value)
    return text


def remove(text: str, table: Path) -> str:
    """The text without that table, and the comments between its lines.

    A comment above or below it stays: it may be about something else.
    """
    runs = groupby(_statements(text), key=lambda one: one.is_in(table))
    for own in reversed([list(run) for is_own, run in runs if is_own]):
        text = _cut(text, own[0].start, own[-1].end)
    return text


@dataclass(frozen=True, slots=True)
class _Statement:
    """A table's header, or a key with its value: offsets of its lines, and of the value; `lead` is before its name."""

    path: Path
    start: int
    end: int
    lead: str
    value: tuple[int, int] | None = None

    def is_in(self, table: Path) -> bool:
        return self.path[: len(table)] == table


def _put_key(text: str, table: Path, key: str, value: object) -> str:
    here = (*table, key)
    same = [one for one in _statements(text) if one.is_in(here)]
    if value is not None and same and same[0].value is not None and same[0].path == here:
        begin, end = same[0].value
        return text[:begin] + _written(value) + text[end:]
    for one in reversed(same):
        text = _cut(text, one.start, one.end)
    return text if value is None else _insert(text, table, f"{_name(key)} = {_written(value)}")


def _insert(text: str, table: Path, line: str) -> str:
    """The text with a line below those of that table, written as they are."""
    line_end = _line_end(text)
    statements = list(_statements(text))
    own = [one for one in statements if one.value is not None and one.path[:-1] == table]
    above = own or [one for one in statements if one.value is None and one.path == table]
    if not above:
        if text:
            text += line_end if text.endswith("\n") else 2 * line_end
        return f"{text}[{'.'.join(map(_name, table))}]{line_end}{line}{line_end}"
    at, lead = above[-1].end, above[-1].lead
    if text[at - 1] != "\n":  # the text's last line
        return f"{text}{line_end}{lead}{line}"
    return f"{text[:at]}{lead}{line}{line_end}{text[at:]}"


def _cut(text: str, start: int, end: int) -> str:
    """The text without those lines; of the empty lines around them one goes along."""
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


def _written(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_name(str(key))} = {_written(one)}' for key, one in value.items())} }}"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- any map
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"  # pyright: ignore[reportUnknownArgumentType] -- any list
    # A number, true, false, and a text are as in JSON, but for this character, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _written(key)


# ---- reading: where each header and key stands

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PIECE: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_PIECE}(?:[ \t]*\.[ \t]*{_PIECE})*"
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
            yield _Statement(table, at, header.end(), header[1])
            at = header.end()
        elif key := _KEY.match(text, at):
            pieces = list(re.finditer(_PIECE, key[2]))
            value, end = _value(text, key.end())
            lead = key[1] + key[2][: pieces[-1].start()]
            yield _Statement((*table, *_pieces(key[2])), at, end, lead, (key.end(), value))
            at = end
        else:
            line = _OTHER_LINE.match(text, at)
            at = len(text) if line is None else line.end()


def _pieces(dotted: str) -> Iterator[str]:
    for piece in re.findall(_PIECE, dotted):
        yield str(tomllib.loads(f"key = {piece}")["key"]) if piece[0] in "\"'" else piece


def _value(text: str, at: int) -> tuple[int, int]:
    """Where the value that begins there ends, and where its last line does."""
    depth, end = 0, at
    for token in _IN_VALUE.finditer(text, at):
        kind = token.lastgroup
        if kind == "line_end" and depth == 0:
            return end, token.end()
        depth += (kind == "open") - (kind == "close")
        if kind not in ("comment", "blank", "line_end"):
            end = token.end()
    return end, len(text)
