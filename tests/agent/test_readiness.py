"""How an agent notifies the command that started it that it accepts connections."""

import os
import subprocess
import sys

import pytest

from auth_agent.host import readiness


def test_the_notification_is_sent_once_and_the_descriptor_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(readiness.VARIABLE, str(writing))
    readiness.notify_ready()
    assert os.read(reading, 10) == b"\n"
    assert os.read(reading, 10) == b""
    os.close(reading)


def test_children_do_not_inherit_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(readiness.VARIABLE, str(writing))
    readiness.notify_ready()
    script = f"import os; print(os.environ.get({readiness.VARIABLE!r}))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"None\n"
    os.close(reading)


def test_without_the_variable_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(readiness.VARIABLE, raising=False)
    readiness.notify_ready()
    assert caplog.text == ""


def test_a_command_that_has_ended_is_only_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(readiness.VARIABLE, str(writing))
    readiness.notify_ready()
    assert "Broken pipe" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(writing)


@pytest.mark.parametrize("value", ["", "x", "-1", "9999999"])
def test_an_invalid_descriptor_is_only_logged(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(readiness.VARIABLE, value)
    readiness.notify_ready()
    assert readiness.VARIABLE in caplog.text
