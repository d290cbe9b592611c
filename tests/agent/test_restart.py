"""How the program is tried before a restart: with the interpreter's own options."""

import pytest

from auth_agent.host.restart import interpreter_options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["-P", "-m", "auth_agent", "run", "-W"], ["-P"]),
        (["-m", "auth_agent", "run"], []),
        (["-W", "error", "-X", "utf8", "-m", "auth_agent"], ["-W", "error", "-X", "utf8"]),
        (["-Werror", "-I", "-c", "-m", "run"], ["-Werror", "-I"]),
        (["/usr/bin/auth-agent", "run", "-m"], ["-P"]),
        (["-I", "/usr/bin/auth-agent", "run"], ["-I", "-P"]),
        (["-X"], ["-X", ""]),
        ([], []),
    ],
)
def test_the_options_of_the_interpreter_are_kept(arguments: list[str], options: list[str]) -> None:
    assert interpreter_options(arguments) == options
