"""`auth-agent config`: the configuration as a whole."""

import json
import sys

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.config_text import config_json, config_toml
from auth_agent.cli.screen import print_message, print_remedies, shown_path
from auth_agent.config import Config, config_path, load
from auth_agent.errors import ConfigError
from auth_agent_client import Agent
from auth_agent_client.errors import AgentNotRunning


@click.group(cls=CommandGroup)
def config() -> None:
    """Check and show the configuration."""


@config.command()
def path() -> None:
    """Print the path of the configuration, whether or not the file exists.

    Example: $EDITOR "$(auth-agent config path)"
    """
    click.echo(config_path())


@config.command()
def check() -> None:
    """Check the configuration, and whether the running agent uses it as it is now.

    A mistake is printed with its file and line, and the exit code is 1.

    Example: auth-agent config check
    """
    try:
        loaded = load(config_path())
    except ConfigError as error:
        raise CommandError(str(error), remedies.correct_configuration()) from error
    count = len(loaded.accounts)
    state = f"is valid: {count} account{'' if count == 1 else 's'}" if loaded.digest else "does not exist yet"
    print_message(f"{shown_path(loaded.path)} {state}")
    _compare_with_agent(loaded)


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(*, as_json: bool) -> None:
    """Print the configuration with all defaults, as TOML; the password of a proxy is left out.

    Example: auth-agent config show
    """
    loaded = load(config_path())
    if as_json:
        click.echo(json.dumps(config_json(loaded), indent=2))
    else:
        sys.stdout.write(config_toml(loaded))


def _compare_with_agent(loaded: Config) -> None:
    """Print whether the running agent has read the file as it is now."""
    try:
        with Agent() as agent:
            running = agent.status().agent
    except AgentNotRunning:
        print_message("No agent runs; it reads the file when it starts.")
        return
    if running.config != str(loaded.path):
        print_message(f"The running agent reads another file: {running.config}")
        print_remedies([remedies.same_configuration()])
    elif running.config_digest != loaded.digest:
        print_message("The running agent has not read it since it was changed.")
        print_remedies([remedies.reload()])
    else:
        print_message("The running agent uses it.")
