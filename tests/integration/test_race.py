"""The race that logs people out: many processes, one session, rotation with reuse detection and no overlap."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

RACER = Path(__file__).with_name("racer.py")
PROCESSES = 8
LIFETIME = 5


@pytest.mark.slow
@pytest.mark.soak
def test_eight_processes_share_one_session_without_a_failure(
    start_provider: Callable[..., OpenIDProvider], request: pytest.FixtureRequest
) -> None:
    seconds = 60 if request.config.getoption("--soak") else 2 * LIFETIME + 2
    provider = start_provider(access_token_lifetime=LIFETIME)
    with AgentProcess({"work": account(provider)}) as agent:
        with agent.client() as client:
            log_in(client, provider)
        userinfo = provider.url + provider.paths["userinfo"]
        racers = [
            subprocess.Popen(
                [sys.executable, str(RACER), str(agent.socket), userinfo, str(seconds)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        results = [json.loads(racer.communicate(timeout=seconds + 60)[0]) for racer in racers]
        refreshes = [request.at for request in provider.requests(provider.token_path, "refresh_token")]
        presented = [row.presented for row in provider.ledger().values()]

    assert [failure for result in results for failure in result["failures"]] == []
    assert [result for result in results if not (result["tokens"] and result["userinfo"])] == []
    assert set(presented) == {1}
    gaps = [later - earlier for earlier, later in pairwise(refreshes)]
    assert len(gaps) >= seconds // LIFETIME
    assert min(gaps) >= LIFETIME / 2
