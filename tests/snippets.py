"""The snippets of the README and the documents: what stands in fences, and what is indented by four columns."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = ("README.md", "client/README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))
_FENCE: Final = re.compile(r"```(\w*)$")
_INDENTED: Final = " " * 4


@dataclass(frozen=True)
class Snippet:
    """A snippet, the heading that it stands under, and where: `language` is "" where nothing says it."""

    document: str
    heading: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Of a `console` snippet: each command, and the output that is shown below it."""
        found: list[tuple[str, str]] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            else:
                command, output = found.pop()
                found.append((command, f"{output}{line}\n"))
        return found


def snippets(document: str) -> list[Snippet]:
    """All snippets of a document, in its order."""
    lines = (ROOT / document).read_text().splitlines()
    found: list[Snippet] = []
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
        found.append(Snippet(document, heading, number + 1, language, "\n".join([*body, ""])))
        number = end + 1
    return found
