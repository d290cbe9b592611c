"""The client and the light commands import few modules."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from auth_agent.cli import light

HEAVY = {"typing", "dataclasses", "asyncio", "re", "json", "logging", "threading", "inspect"}

PRINT_MODULES = "\nimport sys; print(*sorted(sys.modules), sep='\\n')"


def modules_after(script: str, environment: Mapping[str, str] | None = None) -> set[str]:
    """Return the modules that a script loads, without those of a bare interpreter."""
    return loaded_modules(script, environment) - loaded_modules("", environment)


def foreign_packages(script: str) -> set[str]:
    """Return the packages that a script loads, without the standard library's."""
    return {name.partition(".")[0] for name in modules_after(script)} - set(sys.stdlib_module_names)


def loaded_modules(script: str, environment: Mapping[str, str] | None) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-I", "-c", script + PRINT_MODULES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stderr.replace(NO_AGENT, "")) == (0, "")
    return set(process.stdout.split())


NO_AGENT = "auth-agent: no agent listens at /nonexistent/agent.sock\n  start one: auth-agent start\n"

LIGHT_COMMAND = """
from auth_agent.cli import run_command
code = run_command({arguments!r})
assert code == {code}, code
"""
TOO_HEAVY = {"click", "typing", "dataclasses", "re", "asyncio", "httpx", "anyio", "platformdirs", "truststore"}


def test_the_client_loads_only_the_standard_library_and_msgpack() -> None:
    # msgpack's extension module creates modules without a file.
    assert foreign_packages("import auth_agent_client") == foreign_packages("import msgpack") | {"auth_agent_client"}


def test_the_client_loads_no_heavy_module() -> None:
    assert modules_after("import auth_agent_client") & HEAVY == set()


def test_loaded_heavy_modules_are_detected() -> None:
    assert loaded_modules(f"import {', '.join(sorted(HEAVY))}", None) >= HEAVY


def test_the_client_never_loads_the_agent() -> None:
    modules = {name for name in modules_after("import auth_agent_client") if name.partition(".")[0] == "auth_agent"}
    assert modules == set()


@pytest.mark.parametrize("arguments", [["token"], ["header"], ["exec", "--", "true"]])
def test_a_light_command_loads_no_click_and_no_heavy_module(arguments: list[str]) -> None:
    script = LIGHT_COMMAND.format(arguments=arguments, code=3)
    modules = modules_after(script, {"AUTH_AGENT_SOCK": "/nonexistent/agent.sock"})
    # shlex, which quotes the command of a remedy, loads re before Python 3.14.
    assert modules & TOO_HEAVY <= {"re"}
    assert f"auth_agent.cli.{arguments[0]}" in modules


@pytest.mark.parametrize("name", ["bazel", "cargo", "docker", "git", "terraform"])
def test_a_program_that_a_tool_starts_loads_no_heavy_module(name: str) -> None:
    modules = modules_after(f"import auth_agent.cli.tools.{name}")
    # The protocols of most have JSON, which loads re.
    assert modules & TOO_HEAVY <= ({"re"} if name != "git" else set())


@pytest.mark.parametrize("name", sorted(light.COMMANDS))
def test_a_light_command_loads_no_other_one_and_no_heavy_module(name: str) -> None:
    modules = modules_after(f"from auth_agent.cli import light; light.module({name!r})")
    assert modules & TOO_HEAVY <= ({"re"} if name == "kubectl" else set())  # JSON, which kubectl speaks, loads it
    assert modules & set(light.COMMANDS.values()) == {light.COMMANDS[name]}


def test_without_an_agent_a_light_command_exits_with_3_and_prints_the_remedy() -> None:
    process = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; from auth_agent.cli import main; sys.exit(main())", "token"],
        env={"AUTH_AGENT_SOCK": "/nonexistent/agent.sock"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stdout, process.stderr) == (3, "", NO_AGENT)


@pytest.mark.parametrize(("arguments", "handled"), [(["token", "--help"], ""), (["status", "--help"], "the end")])
def test_a_light_command_ends_its_process_before_python_does(arguments: list[str], handled: str) -> None:
    script = f"""
import atexit, gc, sys
sys.argv = ["auth-agent", *{arguments!r}]
from auth_agent.cli import main
assert gc.isenabled()
atexit.register(print, "the end")
sys.exit(main())
"""
    process = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stdout.startswith(f"Usage: auth-agent {arguments[0]}")
    assert process.stdout.partition("the end")[1] == handled
    assert process.stderr == ""
