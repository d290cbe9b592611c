"""A finding of `auth-agent doctor`: what was checked, whether it is well, and what helps if not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from auth_agent.cli.terminal import Piece, Terminal, columns
from auth_agent.printable import printable
from auth_agent_client.remedy import Remedy, remedies_to_wire

GOOD: Final = "good"
WARNING: Final = "warning"
WRONG: Final = "wrong"
# From the best to the worst.
VERDICTS: Final = (GOOD, WARNING, WRONG)
_MARKS: Final = {GOOD: "good", WARNING: "warning", WRONG: "bad"}
_LABEL: Final = 11  # columns, of the longest name of a check
_MAX_LENGTH: Final = 500  # characters of a string from outside


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Args:
        check: one word, which programs may compare.
        verdict: one of `VERDICTS`.
        text: a sentence or a fact; it holds no secret.
        remedy: what helps; empty if it is good.

    """

    check: str
    verdict: str
    text: str
    remedy: tuple[Remedy, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON object, with the remedy as on the socket."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "text": self.text,
            "remedy": remedies_to_wire(self.remedy),
        }


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst verdict, `good` for none."""
    return max((finding.verdict for finding in findings), key=VERDICTS.index, default=GOOD)


def report(findings: Sequence[Finding], terminal: Terminal) -> list[str]:
    """Return the lines for a terminal: one for each finding, with its remedies below, and a summary."""
    lines: list[str] = []
    for finding in findings:
        label = finding.check.ljust(_LABEL)
        head = f"{terminal.mark(_MARKS[finding.verdict])} {terminal.styled(label, 'label')}  "
        lines += terminal.wrap(head, [Piece(printable(finding.text, _MAX_LENGTH))])
        for remedy in finding.remedy:
            lines += _help(remedy, terminal)
    return [*lines, "", _summary(findings)]


def _help(remedy: Remedy, terminal: Terminal) -> list[str]:
    """Return the lines of a remedy; a command that doesn't fit beside its text has its own line, to be copied whole."""
    indent = " " * (_LABEL + 4)
    text, line = printable(remedy.text, _MAX_LENGTH), printable(remedy.line, 4096)
    if not line:
        return terminal.wrap(indent, [Piece(text)])
    fits = terminal.width is None or columns(f"{indent}{text}: {line}") <= terminal.width
    if fits:
        return terminal.wrap(indent, [Piece(f"{text}:"), Piece(line, "strong", whole=True)])
    return [*terminal.wrap(indent, [Piece(f"{text}:")]), f"    {terminal.styled(line, 'strong')}"]


def _summary(findings: Sequence[Finding]) -> str:
    wrong, warnings = (sum(finding.verdict == verdict for finding in findings) for verdict in (WRONG, WARNING))
    if not wrong and not warnings:
        return "Nothing is wrong."
    parts = [f"{wrong} wrong" if wrong else "", _plural(warnings, "warning") if warnings else ""]
    return f"{', '.join(filter(None, parts))}."


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
