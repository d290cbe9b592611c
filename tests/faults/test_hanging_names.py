"""Twenty accounts at issuers whose names can't be looked up, and one at a provider that is well."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from auth_agent_client import AgentError
from tests.faults import hanging_names
from tests.free_ports import free_ports
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import log_in
from tests.op.provider import OpenIDProvider

LAUNCHED = (
    *(sys.executable, "-W", "error", "-m", "tests.faults.launcher"),
    *("--wrap", f"{hanging_names.__name__}:{hanging_names.on_such_a_machine.__name__}"),
)
NAMES = [f"corp{n}" for n in range(20)]
# Of the interpreter, the worker's pipes and asyncio.
OTHER_THREADS = 10


def threads(agent: AgentProcess) -> int:
    return len(list(Path(f"/proc/{agent.process.pid}/task").iterdir()))


@pytest.mark.slow
@pytest.mark.soak
def test_names_that_hang_cost_other_accounts_nothing(request: pytest.FixtureRequest) -> None:
    life, seconds = (20, 300) if request.config.getoption("--soak") else (5, 8)
    (port,) = free_ports(1)
    # By name, so that it is looked up as well.
    issuer, over = f"http://localhost:{port}", Event()
    accounts = {name: {"issuer": f"https://{name}{hanging_names.DOMAIN}", "client_id": "native-app"} for name in NAMES}
    accounts["work"] = {"issuer": issuer, "client_id": "native-app"}
    with (
        OpenIDProvider(port=port, origin=issuer, access_token_lifetime=life) as healthy,
        AgentProcess(accounts, command=LAUNCHED) as agent,
    ):

        def import_again_and_again(name: str) -> None:
            with agent.client() as client:
                while not over.is_set():
                    time.sleep(0.1)
                    with suppress(AgentError):
                        client.import_refresh_token(f"rt-of-{name}", name)

        importing = [Thread(target=import_again_and_again, args=(name,)) for name in NAMES]
        with agent.client() as client:
            log_in(client, healthy)
            for one in importing:
                one.start()
            try:
                until(lambda: threads(agent) >= len(NAMES))
                began, before = time.monotonic(), healthy.count(healthy.token_path)
                while time.monotonic() - began < seconds or healthy.count(healthy.token_path) - before < 3:
                    assert client.token("work").access_token
                    assert client.token("work", min_ttl=1).access_token
                    time.sleep(0.1)
                # One for each name, however often it is asked for.
                assert threads(agent) < len(NAMES) + OTHER_THREADS
            finally:
                over.set()
                agent.terminate()
                for one in importing:
                    one.join()
