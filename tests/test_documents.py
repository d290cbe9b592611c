"""What the documents list is what there is."""

from pathlib import Path

import pytest

from auth_agent.cli.completion.tree import TREE
from auth_agent_client.messages import METHODS

ROOT = Path(__file__).parents[1]


def row(text: str, start: str) -> list[str]:
    """The cells of the one row of a table that begins like that."""
    (found,) = [line for line in text.splitlines() if line.startswith(start)]
    return found.split("|")


@pytest.mark.parametrize("method", METHODS)
def test_the_protocol_has_each_method_with_its_parameters(method: str) -> None:
    text = (ROOT / "docs" / "protocol.md").read_text().partition("\n## Methods\n")[2]
    parameters = row(text, f"| `{method}` |")[2]
    assert {name for name in METHODS[method].parameters if f"`{name}`" not in parameters} == set()


@pytest.mark.parametrize("command", sorted({name.partition(" ")[0] for name in TREE} - {""}))
def test_the_readme_has_a_row_for_each_command(command: str) -> None:
    assert f"\n| `auth-agent {command}" in (ROOT / "README.md").read_text()
