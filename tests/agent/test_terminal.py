"""How text is laid out for a terminal or a pipe."""

import io
import os
import re
import termios

import pytest
from hypothesis import example, given, settings, strategies as st

from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns, duration, terminal_of

COLOURFUL = Terminal(colour=True)


class Screen(io.StringIO):
    """A stream whose `isatty` is true."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


# ---- durations


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-5000, "0 s"),
        (0.9, "0 s"),
        (12, "12 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3659, "1 h"),
        (2 * 3600 + 5 * 60 + 59, "2 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (86_400 + 3 * 3600 + 59 * 60, "1 d 3 h"),
        (45 * 86_400 + 3600, "45 d"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ---- colours and symbols


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_a_terminal_has_colours_unless_the_environment_forbids_them(environ: dict[str, str], *, colour: bool) -> None:
    assert terminal_of(Screen(), environ) == Terminal(None, colour)


@pytest.mark.parametrize(("force", "colour"), [("", False), ("0", False), ("1", True)])
def test_a_pipe_has_no_width_and_no_colours_unless_forced(force: str, *, colour: bool) -> None:
    environ = {"TERM": "xterm", "COLUMNS": "80", "CLICOLOR_FORCE": force}
    with open(os.devnull, "w", encoding="latin-1") as stream:  # noqa: PTH123 -- not a regular file
        assert terminal_of(stream, environ) == Terminal(None, colour, "latin-1")


@pytest.mark.parametrize(("value", "width"), [("80", 80), ("120", 120), ("30", 30), ("7", None), ("wide", None)])
def test_columns_sets_the_width_if_it_is_valid(value: str, width: int | None) -> None:
    assert terminal_of(Screen(), {"COLUMNS": value}).width == width


def test_the_width_of_a_real_terminal_is_read() -> None:
    main, sub = os.openpty()
    with os.fdopen(main, "wb"), os.fdopen(sub, "w") as stream:
        termios.tcsetwinsize(sub, (24, 97))
        assert terminal_of(stream, {"TERM": "xterm"}).width == 97


@pytest.mark.parametrize(("encoding", "symbol"), [("utf-8", "●"), ("ascii", "*"), ("latin-1", "*"), ("nonsense", "*")])
def test_the_symbol_depends_on_the_encoding(encoding: str, symbol: str) -> None:
    assert Terminal(encoding=encoding).mark("good") == symbol


def test_a_character_that_the_encoding_lacks_is_a_question_mark() -> None:
    assert Terminal(encoding="ascii").shown("José at 無") == "Jos? at ?"
    assert PLAIN.shown("José at 無") == "José at 無"


def test_a_style_has_an_effect_only_with_colours() -> None:
    assert PLAIN.styled("text", "bad") == "text"
    assert COLOURFUL.styled("text", "bad") == "\x1b[31mtext\x1b[0m"
    assert COLOURFUL.styled("", "bad") == ""
    assert COLOURFUL.styled("text", "") == "text"


# ---- lines


def test_lines_after_the_first_are_indented() -> None:
    assert Terminal(16).wrap("head  ", [Piece("one two three four")]) == ["head  one two", "      three four"]


def test_without_a_width_no_line_is_broken() -> None:
    text = "word " * 100
    assert PLAIN.wrap("head  ", [Piece(text)]) == [f"head  {text.rstrip()}"]


def test_a_whole_piece_moves_to_the_next_line_if_it_fits_there() -> None:
    pieces = [Piece("now:"), Piece("auth-agent refresh work", whole=True)]
    assert Terminal(26).wrap("", pieces) == ["now:", "auth-agent refresh work"]
    assert Terminal(20).wrap("", pieces) == ["now: auth-agent", "refresh work"]


def test_a_word_wider_than_a_line_is_broken_at_the_line_end() -> None:
    assert Terminal(6).wrap("> ", [Piece("abcdefghij")]) == ["> abcd", "  efgh", "  ij"]
    assert Terminal(7).wrap("> ", [Piece("無効無効")]) == ["> 無効", "  無効"]


def test_escape_codes_do_not_count_as_width() -> None:
    head = COLOURFUL.styled("head", "label") + "  "
    assert Terminal(12, colour=True).wrap(head, [Piece("one two")]) == ["\x1b[2mhead\x1b[0m  one", "      two"]


def test_neighbours_of_one_style_share_their_escape_codes() -> None:
    assert COLOURFUL.wrap("", [Piece("a b", "bad"), Piece("c", "bad"), Piece("d")]) == ["\x1b[31ma b c\x1b[0m d"]


@pytest.mark.parametrize("mark", [",", ":"])
def test_punctuation_at_the_end_of_a_piece_is_not_styled(mark: str) -> None:
    assert COLOURFUL.wrap("", [Piece(f"a{mark}", "bad"), Piece("b")]) == [f"\x1b[31ma\x1b[0m{mark} b"]


def test_a_head_alone_has_no_trailing_blanks() -> None:
    assert Terminal(80).wrap("head  ", []) == ["head"]


@example(width=3, pieces=[Piece("", whole=True), Piece("a"), Piece("a")], colour=False)
@settings(max_examples=100)
@given(
    width=st.integers(3, 40),
    pieces=st.lists(
        st.builds(Piece, st.text("ab 無"), st.sampled_from(["", "bad", "good"]), st.booleans()), max_size=6
    ),
    colour=st.booleans(),
)
def test_no_line_is_wider_than_the_terminal_and_no_character_is_lost(
    width: int, pieces: list[Piece], *, colour: bool
) -> None:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in Terminal(width, colour=colour).wrap("", pieces)]
    assert [line for line in lines if columns(line.rstrip()) > width] == []
    assert "".join(lines).replace(" ", "") == "".join(piece.text for piece in pieces).replace(" ", "")
