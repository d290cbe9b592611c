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
SECONDS = 60


@pytest.mark.slow
def test_eight_processes_share_one_session_without_a_failure(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=5)
    with AgentProcess({"work": account(provider)}) as agent:
        with agent.client() as client:
            log_in(client, provider)
        userinfo = provider.url + provider.paths["userinfo"]
        racers = [
            subprocess.Popen(
                [sys.executable, str(RACER), str(agent.socket), userinfo, str(SECONDS)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        results = [json.loads(racer.communicate(timeout=SECONDS + 60)[0]) for racer in racers]
        refreshes = [request.at for request in provider.requests(provider.token_path, "refresh_token")]
        presented = [row.presented for row in provider.ledger().values()]

    assert [failure for result in results for failure in result["failures"]] == []
    assert sum(result["tokens"] for result in results) >= 100_000
    assert sum(result["userinfo"] for result in results) >= 2_000
    assert set(presented) == {1}
    gaps = [later - earlier for earlier, later in pairwise(refreshes)]
    assert len(gaps) >= SECONDS / 5
    assert min(gaps) >= 2.5
