"""The man pages: up to date with the commands, complete, and valid."""

import os
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from auth_agent.cli import light
from auth_agent.cli.commands import cli
from tests.man_pages import DIRECTORY, pages

PAGES = pages()


def test_the_pages_are_those_of_the_commands_and_the_readme() -> None:
    written = {str(file.relative_to(DIRECTORY)): file.read_text("utf-8") for file in DIRECTORY.glob("*/*")}
    assert written == PAGES, "after a change to a help text: make man"


def test_every_command_has_a_page_with_all_its_options() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        page = PAGES[f"man1/auth-agent-{name}.1"].replace("\\-", "-")
        if name in light.COMMANDS:
            options = [option.name for option in light.module(name).COMMAND.options]
        else:
            options = list(_options(cli.get_command(context, name)))
        assert [option for option in options if option not in page] == []


def _options(command: click.Command | None) -> list[str]:
    assert command is not None
    own = [name for one in command.params if isinstance(one, click.Option) and not one.hidden for name in one.opts]
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            own += _options(command.get_command(click.Context(command), name))
    return own


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_shown_without_a_warning(path: str, tmp_path: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("apt-get install man-db")
    file = tmp_path / Path(path).name
    file.write_text(PAGES[path], "utf-8")
    environment = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    command = ["man", "--warnings", "--local-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    # A line of an example, or a URL, may be wider than the page.
    wide = ("cannot adjust line", "can't break line")
    assert [line for line in done.stderr.splitlines() if not any(words in line for words in wide)] == []
    assert "NAME\n" in done.stdout
