"""What text looks like where it is shown."""

import io
import os
import re
import termios

import pytest
from hypothesis import example, given, settings, strategies as st

from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns, duration, terminal_of

COLOURFUL = Terminal(colour=True)


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


# ---- times


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
def test_a_time_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ---- colours, symbols, and where they are


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
def test_a_terminal_has_colours_unless_somebody_says_otherwise(environ: dict[str, str], *, colour: bool) -> None:
    assert terminal_of(Screen(), environ) == Terminal(None, colour)


@pytest.mark.parametrize(("force", "colour"), [("", False), ("0", False), ("1", True)])
def test_a_pipe_is_plain_and_has_no_width_whatever_the_terminal_beside_it(force: str, *, colour: bool) -> None:
    environ = {"TERM": "xterm", "COLUMNS": "80", "CLICOLOR_FORCE": force}
    with open(os.devnull, "w", encoding="latin-1") as stream:  # noqa: PTH123 -- no file
        assert terminal_of(stream, environ) == Terminal(None, colour, "latin-1")


@pytest.mark.parametrize(("told", "width"), [("80", 80), ("120", 120), ("30", 30), ("7", None), ("wide", None)])
def test_the_width_is_what_the_environment_says_if_that_is_of_use(told: str, width: int | None) -> None:
    assert terminal_of(Screen(), {"COLUMNS": told}).width == width


def test_a_real_terminals_width_is_asked_for() -> None:
    main, sub = os.openpty()
    with os.fdopen(main, "wb"), os.fdopen(sub, "w") as stream:
        termios.tcsetwinsize(sub, (24, 97))
        assert terminal_of(stream, {"TERM": "xterm"}).width == 97


@pytest.mark.parametrize(("encoding", "symbol"), [("utf-8", "●"), ("ascii", "*"), ("latin-1", "*"), ("nonsense", "*")])
def test_a_symbol_is_one_that_the_encoding_has(encoding: str, symbol: str) -> None:
    assert Terminal(encoding=encoding).mark("good") == symbol


def test_what_the_encoding_does_not_have_is_a_question_mark() -> None:
    assert Terminal(encoding="ascii").shown("José at 無") == "Jos? at ?"
    assert PLAIN.shown("José at 無") == "José at 無"


def test_a_style_is_there_with_colours_only() -> None:
    assert PLAIN.styled("text", "bad") == "text"
    assert COLOURFUL.styled("text", "bad") == "\x1b[31mtext\x1b[0m"
    assert COLOURFUL.styled("", "bad") == ""
    assert COLOURFUL.styled("text", "") == "text"


# ---- lines


def test_lines_after_the_first_hang() -> None:
    assert Terminal(16).wrap("head  ", [Piece("one two three four")]) == ["head  one two", "      three four"]


def test_without_a_width_nothing_is_broken() -> None:
    text = "word " * 100
    assert PLAIN.wrap("head  ", [Piece(text)]) == [f"head  {text.rstrip()}"]


def test_a_whole_piece_goes_to_the_next_line_rather_than_being_broken() -> None:
    pieces = [Piece("now:"), Piece("auth-agent refresh work", whole=True)]
    assert Terminal(26).wrap("", pieces) == ["now:", "auth-agent refresh work"]
    assert Terminal(20).wrap("", pieces) == ["now: auth-agent", "refresh work"]


def test_a_word_wider_than_a_line_is_broken_where_it_ends() -> None:
    assert Terminal(6).wrap("> ", [Piece("abcdefghij")]) == ["> abcd", "  efgh", "  ij"]
    assert Terminal(7).wrap("> ", [Piece("無効無効")]) == ["> 無効", "  無効"]


def test_a_styled_head_is_as_wide_as_it_looks() -> None:
    head = COLOURFUL.styled("head", "label") + "  "
    assert Terminal(12, colour=True).wrap(head, [Piece("one two")]) == ["\x1b[2mhead\x1b[0m  one", "      two"]


def test_neighbours_of_one_style_share_its_codes() -> None:
    assert COLOURFUL.wrap("", [Piece("a b", "bad"), Piece("c", "bad"), Piece("d")]) == ["\x1b[31ma b c\x1b[0m d"]


@pytest.mark.parametrize("mark", [",", ":"])
def test_a_comma_does_not_stand_out(mark: str) -> None:
    assert COLOURFUL.wrap("", [Piece(f"a{mark}", "bad"), Piece("b")]) == [f"\x1b[31ma\x1b[0m{mark} b"]


def test_a_head_without_anything_after_it_has_no_blanks_at_its_end() -> None:
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
