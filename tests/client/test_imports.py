"""What a program pays for the client, and a shell loop for `auth-agent token`: few imports."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from auth_agent.cli import light

HEAVY = {"typing", "dataclasses", "asyncio", "re", "json", "logging", "threading", "inspect"}

PRINT_MODULES = "\nimport sys; print(*sorted(sys.modules), sep='\\n')"


def modules_after(script: str, environment: Mapping[str, str] | None = None) -> set[str]:
    """What a fresh interpreter has loaded, once it has run the script, beyond what a bare one has."""
    return loaded(script, environment) - loaded("", environment)


def foreign_packages(script: str) -> set[str]:
    """What the script loads that is not the standard library's."""
    return {name.partition(".")[0] for name in modules_after(script)} - set(sys.stdlib_module_names)


def loaded(script: str, environment: Mapping[str, str] | None) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", script + PRINT_MODULES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr.replace(NOBODY_LISTENS, "")) == (0, "")
    return set(done.stdout.split())


NOBODY_LISTENS = "auth-agent: no agent listens at /nonexistent/agent.sock\n  start one: auth-agent start\n"

LIGHT_COMMAND = """
import sys
sys.argv = ["auth-agent", *{arguments!r}]
from auth_agent.cli import main
code = main()
assert code == {code}, code
"""
TOO_HEAVY = {"click", "typing", "dataclasses", "re", "asyncio", "httpx", "anyio", "platformdirs", "truststore"}


def test_the_client_loads_the_standard_library_msgpack_and_itself_only() -> None:
    # msgpack's compiled half makes modules of its own that have no file.
    assert foreign_packages("import auth_agent_client") == foreign_packages("import msgpack") | {"auth_agent_client"}


def test_the_client_loads_nothing_heavy() -> None:
    assert modules_after("import auth_agent_client") & HEAVY == set()


def test_heavy_modules_would_be_seen() -> None:
    assert loaded(f"import {', '.join(sorted(HEAVY))}", None) >= HEAVY


def test_the_client_never_loads_the_agent() -> None:
    found = {name for name in modules_after("import auth_agent_client") if name.partition(".")[0] == "auth_agent"}
    assert found == set()


def test_the_light_command_loads_no_click_and_nothing_heavy() -> None:
    script = LIGHT_COMMAND.format(arguments=["token"], code=3)
    found = modules_after(script, {"AUTH_AGENT_SOCK": "/nonexistent/agent.sock"})
    # shlex quotes the command that helps, of an error only; before Python 3.14 it always loads re.
    assert found & TOO_HEAVY <= {"re"}
    assert "auth_agent.cli.token" in found


@pytest.mark.parametrize("name", sorted(light.COMMANDS))
def test_no_light_command_loads_another_one_or_anything_heavy(name: str) -> None:
    found = modules_after(f"from auth_agent.cli import light; light.module({name!r})")
    assert found & TOO_HEAVY == set()
    assert found & set(light.COMMANDS.values()) == {light.COMMANDS[name]}


def test_the_light_command_where_nobody_listens_exits_with_3_and_says_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; from auth_agent.cli import main; sys.exit(main())", "token"],
        env={"AUTH_AGENT_SOCK": "/nonexistent/agent.sock"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", NOBODY_LISTENS)
