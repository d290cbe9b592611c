"""docs/design.md names only existing things, and its map has every module."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AGENT, CLIENT = ROOT / "agent" / "auth_agent", ROOT / "client" / "auth_agent_client"
DESIGN = (ROOT / "docs" / "design.md").read_text()
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", DESIGN, flags=re.DOTALL | re.MULTILINE))
PATHS = sorted({name for name in CODE if re.fullmatch(r"[\w/]+(\.(py|md)|/)", name)})
# `Saver.save`, `daemon.serve`: a class or module, and its member.
MEMBERS = sorted({name for name in CODE if re.fullmatch(r"\w+\.\w+", name)} - set(PATHS))
WORDS = sorted({name for name in CODE if re.fullmatch(r"[A-Za-z_]\w+", name)})
DRAWN = sorted(set(re.findall(r"\w+\.py", "".join(re.findall(r"^```.*?^```", DESIGN, flags=re.DOTALL | re.MULTILINE)))))
MAP = DESIGN.partition("## Map of the code")[2].split("```")[1]
SOURCES = {path: path.read_text() for root in (AGENT, CLIENT) for path in root.rglob("*.py")}


def test_the_document_names_files_members_and_modules() -> None:
    assert len(PATHS) > 30
    assert len(MEMBERS) > 10
    assert len(DRAWN) > 5


@pytest.mark.parametrize("name", PATHS)
def test_a_named_file_exists(name: str) -> None:
    assert (AGENT / name).exists() or (ROOT / name).exists()


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_module_exists(name: str) -> None:
    assert any(path.name == name for path in SOURCES)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_named_member_exists(name: str) -> None:
    owner, _, member = name.partition(".")
    defined = re.compile(rf"^ *(async )?def {member}\b", re.MULTILINE)
    owners = [
        text
        for path, text in SOURCES.items()
        if path.stem == owner or re.search(rf"^class {owner}\b", text, re.MULTILINE)
    ]
    assert any(map(defined.search, owners))


@pytest.mark.parametrize("name", WORDS)
def test_a_named_word_is_in_the_code(name: str) -> None:
    word = re.compile(rf"\b{name}\b")
    assert any(map(word.search, SOURCES.values()))


@pytest.mark.parametrize("path", sorted(SOURCES), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_map_has_each_module_in_its_package(path: Path) -> None:
    agent, _, client = MAP.partition("client/auth_agent_client/")
    root, part = (AGENT, agent) if path.is_relative_to(AGENT) else (CLIENT, client)
    package, *rest = path.relative_to(root).parts
    if rest:  # the part of its package, up to the next one; for a package in a package its name
        part = re.split(r"\n  \w+/ ", part.partition(f"\n  {package}/ ")[2])[0]
    name = Path(rest[0]).stem if rest else package
    assert name in {"__init__", "__init__.py"} or re.search(rf"\b{re.escape(name)}\b", part)
