"""By what a token's signature is checked: decided before anything in the token is looked at."""

import base64
import logging
from dataclasses import replace

import pytest

from auth_agent.oauth.outcome import Defect, Failure, Misconfigured, Unsent, Unusable
from auth_agent.oauth.signature import SignatureCheckError
from auth_agent.secret import Secret
from auth_agent.sessions.verifier import ID_TOKEN, USERINFO, Verifier
from tests.agent.world import CLIENT, METADATA, FakeProvider, FakeSignatures, account, jwt

pytestmark = pytest.mark.anyio

SECRET = Secret("s" * 32)
TOKEN = jwt(aud=CLIENT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A verifier with a fake provider and fake signatures."""

    def __init__(
        self, *, algorithms: tuple[str, ...] | None = ("RS256", "HS256"), configured: str | None = None
    ) -> None:
        self.provider = FakeProvider(metadata=replace(METADATA, id_token_algorithms=algorithms))
        self.signatures = FakeSignatures()
        self.verifier = Verifier(lambda _: self.provider, self.signatures)
        self.account = account(id_token_signed_response_alg=configured)

    async def problem(
        self, token: Secret = TOKEN, secret: Secret | None = SECRET, noun: str = ID_TOKEN
    ) -> Failure | None:
        return await self.verifier.problem(self.account, secret, token, noun)


async def test_the_providers_keys_check_any_of_their_algorithms() -> None:
    world = World()
    assert await world.problem() is None
    assert world.signatures.checks == [(None, ID_TOKEN)]


async def test_the_account_fixes_the_algorithm_of_id_tokens() -> None:
    world = World(configured="ES256")
    assert await world.problem() is None
    assert await world.problem(noun=USERINFO) is None
    assert world.signatures.checks == [("ES256", ID_TOKEN), (None, USERINFO)]


@pytest.mark.parametrize("noun", [ID_TOKEN, USERINFO])
async def test_a_secret_signs_where_nothing_else_can(noun: str) -> None:
    world = World(algorithms=("HS384",))
    world.provider.key_set = Unsent("no keys")  # which are never requested
    assert await world.problem(noun=noun) is None
    assert world.signatures.checks == [("HS384", noun)]


async def test_a_public_client_has_no_such_signature() -> None:
    assert isinstance(await World(configured="HS256").problem(secret=None), Misconfigured)


@pytest.mark.parametrize("aud", [[CLIENT, "other"], "other", None])
async def test_a_token_that_a_secret_signs_is_for_one_audience(aud: object) -> None:
    world = World(configured="HS256")
    assert isinstance(await world.problem(jwt(aud=aud)), Unusable)
    assert world.signatures.checks == []
    assert await world.problem(jwt(aud=[CLIENT])) is None


@pytest.mark.parametrize(("length", "warned"), [(31, True), (32, False)])
async def test_a_secret_shorter_than_the_hash_is_warned_of(
    length: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await World(configured="HS256").problem(secret=Secret("s" * length)) is None
    assert ("shorter_than=HS256" in caplog.text) is warned
    assert "sss" not in caplog.text


async def test_an_account_without_the_key_that_needs_it_is_told_of_the_key() -> None:
    world = World()
    world.signatures.reason = "the ID token is signed with 'HS256', which is not accepted"
    header = base64.urlsafe_b64encode(b'{"alg": "HS256"}').decode().rstrip("=")
    token = Secret(f"{header}.{TOKEN.reveal().partition('.')[2]}")
    problem = await world.problem(token)
    assert isinstance(problem, Misconfigured)
    assert problem.keys == ("id_token_signed_response_alg",)
    assert type(await world.problem(token, None)) is Unusable
    assert type(await world.problem(TOKEN)) is Unusable


async def test_what_can_not_be_checked_is_a_failure_of_its_own() -> None:
    world = World()
    world.signatures.error = SignatureCheckError("the worker is gone")
    assert isinstance(await world.problem(), Defect)
    world.provider.key_set = Unsent("no route")
    assert isinstance(problem := await world.problem(), Unsent)
    assert "no route" in problem.reason
    world.provider.metadata = Unsent("no network")
    assert await world.problem() == Unsent("no network")
