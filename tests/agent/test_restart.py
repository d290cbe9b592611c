"""How the program is tried before a restart: with the interpreter's own options."""

import sys

import pytest

from auth_agent.errors import StartupError
from auth_agent.host.restart import check_program, interpreter_options
from tests.agent.threads import without_threads


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


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio waits for children without a thread")
async def test_a_program_that_can_not_be_waited_for_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "pass"])
    with without_threads(), pytest.raises(StartupError, match="thread"):
        await check_program()
