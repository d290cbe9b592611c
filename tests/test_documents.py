"""The lists in the documents are complete, and their links and commands are valid."""

import re
from pathlib import Path
from typing import Final

import pytest

from auth_agent.cli.completion.tree import TREE
from auth_agent_client.messages import METHODS
from tests.snippets import TOOL_PAGES

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "client/*.md", "docs/*.md", "docs/tools/*.md", "tests/*.md", "tests/*/*.md")
    for path in ROOT.glob(pattern)
)
_LONGEST: Final = 120  # characters of a line of prose


def row(text: str, start: str) -> list[str]:
    """Return the cells of the only table row that starts with that."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.split("|")


def prose(document: str) -> list[str]:
    """Return the lines outside of fences."""
    return re.sub(r"^```.*?^```$", "", (ROOT / document).read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub creates them."""
    headings = [line.lstrip("#").strip().lower() for line in document.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("method", METHODS)
def test_the_protocol_has_each_method_with_its_parameters(method: str) -> None:
    text = (ROOT / "docs" / "protocol.md").read_text().partition("\n## Methods\n")[2]
    parameters = row(text, f"| `{method}` |")[2]
    assert {name for name in METHODS[method].parameters if f"`{name}`" not in parameters} == set()


@pytest.mark.parametrize("command", sorted({name.partition(" ")[0] for name in TREE} - {""}))
def test_the_readme_has_a_row_for_each_command(command: str) -> None:
    assert f"\n| `auth-agent {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_line_of_prose_is_longer_than_code_may_be(document: str) -> None:
    assert [line for line in prose(document) if len(line) > _LONGEST and not line.startswith("|")] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_link_within_the_repository_has_a_target(document: str) -> None:
    def has_target(link: str) -> bool:
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        return target.exists() and (not anchor or anchor in anchors(target))

    links = [link for line in prose(document) for link in re.findall(r"\]\(([^)\s]+)\)", line)]
    assert [link for link in links if not link.startswith("https://") and not has_target(link)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_command_in_a_sentence_exists(document: str) -> None:
    text = " ".join(prose(document))
    for line in re.findall(r"`auth-agent ([^`]+)`", text):
        words = [word for word in line.split() if not word.startswith("-")]
        command = next((name for name in (" ".join(words[:2]), words[0] if words else "") if name in TREE), "")
        options = re.findall(r"(?<!\S)--[a-z-]+", line)
        assert command or not words or words[0].isupper() or words[0] == "…", line
        assert {option for option in options if option not in TREE[command][2]} == set(), line


# ---- the tests that tests/README.md names

NAMED_TEST: Final = re.compile(r"`([\w/.]*)::(test_\w+)(…?)`")


def named_tests() -> list[tuple[str, str, bool]]:
    """Return the file ("": of a row above) and the name of each test in a table, and whether it is a beginning only."""
    rows = [line for line in (ROOT / "tests" / "README.md").read_text("utf-8").splitlines() if line.startswith("|")]
    return [(file, name, bool(dots)) for row in rows for file, name, dots in NAMED_TEST.findall(row)]


def test_the_tables_name_tests() -> None:
    assert len(named_tests()) > 60


@pytest.mark.parametrize(("file", "name", "is_beginning"), named_tests())
def test_a_test_that_the_tables_name_exists(file: str, name: str, is_beginning: bool) -> None:
    files = [ROOT / "tests" / file] if file else (ROOT / "tests").rglob("test_*.py")
    names = [one for path in files for one in re.findall(r"def (test_\w+)", path.read_text("utf-8"))]
    assert [one for one in names if (one.startswith(name) if is_beginning else one == name)] != []


def test_the_commands_of_each_tools_page_are_run_by_a_test() -> None:
    tests = [path.read_text() for path in ROOT.glob("tests/integration/tools/test_*.py")]
    assert [page for page in TOOL_PAGES if not any(f'"{page}"' in test for test in tests)] == []
