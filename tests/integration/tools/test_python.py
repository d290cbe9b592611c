"""Programs with `AgentAuth` run on while tokens of five seconds rotate under them, at an API that asks the provider."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.integration.agent_process import AgentProcess
from tests.integration.api_server import ApiServer
from tests.integration.conftest import account, log_in
from tests.integration.http_programs import BODY, PROGRAMS, Program
from tests.op.provider import OpenIDProvider

LIFETIME = 5  # s
TOKENS = 4  # that each program uses at least


def test_no_request_of_a_program_fails_while_tokens_rotate(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=LIFETIME)
    with ApiServer() as api, AgentProcess({"work": account(provider)}) as agent:
        api.rejects = lambda token: token is None or provider.userinfo(token).status_code != 200
        with agent.client() as client:
            log_in(client, provider)

        def run(kind: type[Program]) -> set[int]:
            path = f"/{kind.__name__}"

            def is_over() -> bool:
                return len({one.token for one in api.requests if one.path == path}) >= TOKENS

            program = kind(account="work", origins=[api.origin], path=str(agent.socket))
            return {one.status for one in program.send_until(is_over, f"{api.origin}{path}")}

        with ThreadPoolExecutor(len(PROGRAMS)) as pool:
            assert list(pool.map(run, PROGRAMS)) == [{200}] * len(PROGRAMS)
        assert {one.body for one in api.requests} == {BODY}
        # The programs caused no refresh of their own: each refresh token was sent once, when it was due.
        assert {row.presented for row in provider.ledger().values()} <= {0, 1}
