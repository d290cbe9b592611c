"""The command that notifies of logins, where it can't be run."""

import logging
import sys

import pytest

from auth_agent.notification.notifier import DesktopNotifier
from tests.agent.threads import without_threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the agent's


async def test_a_command_that_can_not_be_started_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await DesktopNotifier().notify([{"account": "work"}], ("/nonexistent/command",))
    assert "notification accounts=work error=" in caplog.text


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio waits for children without a thread")
async def test_a_command_that_can_not_be_waited_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with without_threads():
        await DesktopNotifier().notify([{"account": "work"}], ("true",))
    assert "notification accounts=work error=" in caplog.text


async def test_a_command_need_not_read_its_input(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "auth_agent")
    records = [{"account": "work", "reason": "x" * 1000}] * 1000  # more than a pipe holds
    await DesktopNotifier().notify(records, ("sh", "-c", "exec <&-"))
    # asyncio may log what it left of a command of another test that could not be started.
    own = [record.levelname for record in caplog.records if record.name.startswith("auth_agent")]
    assert own == ["INFO"]
