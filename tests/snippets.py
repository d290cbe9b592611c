"""The snippets of the README and the documents: fenced code, and code that is indented by four columns."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = (
    *("README.md", "client/README.md", "docs/tools/shell.md", "docs/tools/python.md"),
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
)
# Their commands need the tools themselves: the tests of the tools run them.
TOOL_PAGES: Final = tuple(sorted({f"docs/tools/{path.name}" for path in ROOT.glob("docs/tools/*.md")} - set(DOCUMENTS)))
_FENCE: Final = re.compile(r"```(\w*)$")
_INDENTED: Final = " " * 4


@dataclass(frozen=True)
class Snippet:
    """A snippet, its heading and its place; `language` is "" if it has none."""

    document: str
    heading: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Each command of a `console` snippet, and the output that is shown below it."""
        pairs: list[tuple[str, str]] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                pairs.append((line[2:], ""))
            else:
                command, output = pairs.pop()
                pairs.append((command, f"{output}{line}\n"))
        return pairs


def snippets(document: str) -> list[Snippet]:
    """Return all snippets of a document, in order."""
    lines = (ROOT / document).read_text().splitlines()
    result: list[Snippet] = []
    heading, number = "", 0
    while number < len(lines):
        line, end = lines[number], number
        fence = _FENCE.match(line)
        if fence:
            end = lines.index("```", number + 1)
            body, language = lines[number + 1 : end], fence[1]
        elif line.startswith(_INDENTED) and not lines[number - 1]:
            end = next((at for at in range(number, len(lines)) if not lines[at].startswith(_INDENTED)), len(lines)) - 1
            body, language = [one[len(_INDENTED) :] for one in lines[number : end + 1]], ""
        else:
            assert not line.lstrip().startswith(("```", "~~~")), f"{document}:{number + 1}: write it as ```language"
            heading = line.lstrip("# ") if line.startswith("#") else heading
            number += 1
            continue
        result.append(Snippet(document, heading, number + 1, language, "\n".join([*body, ""])))
        number = end + 1
    return result
