"""The clients in docs/clients give up waiting for an agent that hangs."""

import signal

from tests.integration.agent_process import AgentProcess
from tests.integration.test_other_languages import Run, run

__all__ = ["run"]  # the fixture


def test_a_client_does_not_wait_for_ever(run: Run, agent: AgentProcess) -> None:
    agent.process.send_signal(signal.SIGSTOP)
    try:
        (late,) = run(agent, ("token", {"timeout": 0}))
    finally:
        agent.process.send_signal(signal.SIGCONT)
    assert (late["code"], late["retryable"]) == ("timeout", True)
