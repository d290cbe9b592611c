"""Writes the man pages from the commands' help texts and the README's configuration: `make man`.

They are committed, so that an installation from a checkout needs no step of its own; a test compares them.
"""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from auth_agent.cli import light
from auth_agent.cli.commands import cli
from auth_agent.cli.light import Command

ROOT: Final = Path(__file__).parents[1]
DIRECTORY: Final = ROOT / "docs" / "man"  # with a directory for each section, as man(1) wants it
_SEE_ALSO: Final = ("auth-agent(1)", "auth-agent-config(5)")
_EXAMPLE: Final = "Example: "
# What `auth-agent --help` doesn't say.
_EXIT_CODES: Final = "## Exit codes"
_VARIABLES: Final = "| environment variable | |"


def pages() -> dict[str, str]:
    """Return all pages by their path, such as `man1/auth-agent.1`."""
    # With the settings of the real one: click keeps what it makes of them with the commands.
    context = click.Context(cli, info_name="auth-agent", **cli.context_settings)
    found = {"man1/auth-agent.1": _main_page(context), "man5/auth-agent-config.5": _configuration_page()}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        found[f"man1/auth-agent-{name}.1"] = _command_page(name, command, context)
    return found


def _main_page(context: click.Context) -> str:
    commands = [(name, command) for name in cli.list_commands(context) if (command := cli.get_command(context, name))]
    return "\n".join(
        [
            _head("auth-agent", 1, _summary(cli.help or "")),
            *_section("synopsis", [".B auth-agent", "[OPTIONS] COMMAND [ARGS]..."]),
            *_section("description", _prose(cli.help or "")),
            *_section("options", _options(cli, context)),
            *_section(
                "commands", _terms((f"auth-agent-{name}(1)", _summary(one.help or "")) for name, one in commands)
            ),
            *_section("exit status", _terms(_table_after(_EXIT_CODES))),
            *_section("environment", _terms(_table_after(_VARIABLES))),
            *_section("see also", [", ".join(map(_escaped, _SEE_ALSO[1:]))]),
            "",
        ]
    )


def _command_page(name: str, command: click.Command, parent: click.Context) -> str:
    if name in light.COMMANDS:
        return _light_page(light.module(name).COMMAND)
    context = click.Context(command, parent, info_name=f"auth-agent {name}")
    lines = [
        _head(f"auth-agent-{name}", 1, _summary(command.help or "")),
        *_section("synopsis", _synopsis(context, command)),
        *_section("description", _prose(command.help or "")),
        *_section("options", _options(command, context)),
    ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for sub in command.list_commands(context):
            below = command.get_command(context, sub)
            assert below is not None
            inner = click.Context(below, context, info_name=f"{context.info_name} {sub}")
            usage = " ".join(below.collect_usage_pieces(inner))
            lines += [f".SS {_escaped(f'{context.info_name} {sub} {usage}')}", *_prose(below.help or "")]
            lines += _options(below, inner)
    return "\n".join([*lines, *_section("see also", [", ".join(map(_escaped, _SEE_ALSO))]), ""])


def _light_page(command: Command) -> str:
    options = [(option.usage, option.help) for option in command.options]
    usage = " ".join(filter(None, ("[OPTIONS]", command.arguments)))
    examples = [
        f"{_EXAMPLE}{line.removeprefix(_EXAMPLE)}" for line in re.findall(r"(?m)^  (Example: .*)$", command.help)
    ]
    return "\n".join(
        [
            _head(f"auth-agent-{command.name}", 1, command.summary),
            *_section("synopsis", [f".B {_escaped(f'auth-agent {command.name}')}", _escaped(usage)]),
            *_section("description", _prose("\n\n".join([command.summary, *examples]))),
            *_section("options", _terms(options)),
            *_section("see also", [", ".join(map(_escaped, _SEE_ALSO))]),
            "",
        ]
    )


def _configuration_page() -> str:
    """Return the page about the configuration: the README's section."""
    readme = (ROOT / "README.md").read_text("utf-8")
    _, _, section = readme.partition("\n## Configuration\n")
    before, _, after = section[: section.index("\n## ")].partition(_VARIABLES)
    rest = after[after.index("\n###") :]  # the variables are in auth-agent(1)
    lines: list[str] = []
    for block in re.split(r"(?ms)^(```toml\n.*?^```)$", before + rest):
        if block.startswith("```"):
            lines += [".PP", ".nf", *map(_escaped, block.splitlines()[1:-1]), ".fi"]
        else:
            lines += _markdown(block)
    return "\n".join(
        [
            _head("auth-agent-config", 5, "The configuration of auth-agent: accounts, hosts and notifications."),
            *_section("description", lines),
            *_section("see also", [_escaped(_SEE_ALSO[0])]),
            "",
        ]
    )


# ---- parts of a page


def _head(name: str, section: int, summary: str) -> str:
    title = name.upper()
    line = summary[:1].lower() + summary[1:].rstrip(".")
    return (
        f'.\\" Written by `make man`.\n.TH {_escaped(title)} {section}\n.SH NAME\n{_escaped(name)} \\- {_escaped(line)}'
    )


def _section(title: str, lines: Iterable[str]) -> list[str]:
    content = list(lines)
    return [f".SH {title.upper()}", *content] if content else []


def _synopsis(context: click.Context, command: click.Command) -> list[str]:
    return [f".B {_escaped(context.info_name or '')}", _escaped(" ".join(command.collect_usage_pieces(context)))]


def _options(command: click.Command, context: click.Context) -> list[str]:
    found = (parameter.get_help_record(context) for parameter in command.get_params(context))
    return _terms((one[0], one[1]) for one in found if one is not None and one[1])


def _terms(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for term, text in rows for line in (".TP", f".B {_escaped(term)}", _escaped(" ".join(text.split())))]


def _prose(text: str) -> list[str]:
    """Return paragraphs; an example is a line of its own."""
    lines: list[str] = []
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        line = " ".join(paragraph.replace("\b", "").split())
        if line.startswith(_EXAMPLE):
            lines += [".PP", ".EX", _escaped(f"    {line.removeprefix(_EXAMPLE)}"), ".EE"]
        else:
            lines += [*([".PP"] if number else []), _escaped(line)]
    return lines


def _markdown(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in filter(None, (one.strip("\n") for one in text.split("\n\n"))):
        if paragraph.lstrip().startswith("#"):
            lines.append(f".SS {_escaped(paragraph.lstrip('# '))}")
        else:
            items = re.split(r"(?m)^- ", paragraph)
            lines += [".PP", _escaped(_plain(items[0]))] if items[0].strip() else []
            for item in items[1:]:
                lines += [".IP \\(bu 2", _escaped(_plain(item))]
    return lines


def _table_after(heading: str) -> list[tuple[str, str]]:
    """Return the rows of the README's table with that heading."""
    _, _, rest = (ROOT / "README.md").read_text("utf-8").partition(heading)
    rows = re.findall(r"(?m)^\| (.+?) \| (.*?) \|$", rest[: rest.index("\n\n", rest.index("| --- |"))])
    return [(_plain(term), _plain(text)) for term, text in rows if term not in ("code", "---")]


def _summary(text: str) -> str:
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _plain(text: str) -> str:
    """Return Markdown without its marks, in one line."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(text.replace("`", "").replace("**", "").split())


def _escaped(text: str) -> str:
    """Return text as roff(7) shows it: backslashes and hyphens as they are, no request at the start of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main() -> None:
    """Write the pages, and remove those of commands that are gone."""
    written = pages()
    for old in DIRECTORY.glob("*/*"):
        if str(old.relative_to(DIRECTORY)) not in written:
            old.unlink()
    for path, page in written.items():
        file = DIRECTORY / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
