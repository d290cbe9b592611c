"""Logins in a fake world: the session that a login creates, and that a failed one leaves the old session."""

import gc
import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.grant_type import AUTHORIZATION_CODE, CLIENT_CREDENTIALS
from auth_agent.loopback.listener import RedirectListener
from auth_agent.oauth.authorization import AuthorizationRequest
from auth_agent.oauth.client import BASIC, POST
from auth_agent.oauth.device import AuthorizationPending, CodeExpired, DeviceAuthorization, SlowDown
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import (
    Busy,
    Failure,
    FlowNotAllowed,
    InvalidClient,
    InvalidGrant,
    Lost,
    Misconfigured,
    Overloaded,
    PolicyRefusal,
    Refusal,
    Rejected,
    ScopeRefusal,
    TokenResponse,
    Transient,
    Unsent,
    Unusable,
)
from auth_agent.oauth.signature import SignatureCheckError
from auth_agent.secret import Secret
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.record import record
from auth_agent_client import errors
from tests.agent.heart import World, all_of, running
from tests.agent.world import (
    ALICE,
    CLIENT,
    ISSUER,
    METADATA,
    NOON,
    FakeProvider,
    FakeStore,
    account,
    config,
    jwt,
    token_response,
)
from tests.free_ports import free_ports

pytestmark = pytest.mark.anyio

DEVICE = DeviceAuthorization(Secret("dc"), "WDJB-MJHT", f"{ISSUER}activate", None, lifetime=900, interval=5)
# The system chooses a port, so that tests can run in parallel.
ANY_PORT = (0,)
CLIENT_ACCOUNT = account(grant_type=CLIENT_CREDENTIALS)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def begin_login(
    world: World,
    flow: str = "device",
    owner: object = "a connection",
    *,
    program: str = "a program",
    name: str = "work",
    switch_user: bool = False,
    secret: str | None = None,
) -> dict[str, object]:
    session, client_secret = world.table.session(name), None if secret is None else Secret(secret)
    return await world.logins.begin(
        session, owner, flow, program=program, switch_user=switch_user, client_secret=client_secret
    )


async def result_of(world: World, login: dict[str, object]) -> dict[str, object]:
    return await world.logins.result(str(login["login_id"]))


async def failure_of(world: World, login: dict[str, object]) -> errors.AgentError:
    """Return the error with which a login failed."""
    try:
        record = await result_of(world, login)
    except errors.AgentError as error:
        return error
    raise AssertionError(record)


async def begin_device_login(world: World, *responses: Failure | TokenResponse, **more: Any) -> dict[str, object]:
    """Begin a login on another device; the provider's poll responses are those given, and then tokens."""
    world.provider.device = DEVICE
    world.provider.script = list(responses)
    return await begin_login(world, **more)


def authorization_params(login: dict[str, object]) -> dict[str, str]:
    """Return the parameters of the login's authorization URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(str(login["authorization_url"])).query).items()}


def redirect_url(login: dict[str, object], **fields: str) -> str:
    """Return the redirect URL at which a browser ends, with the login's state unless another one is given."""
    params = authorization_params(login)
    return f"{params['redirect_uri']}?{urlencode({'state': params['state'], **fields})}"


async def begin_browser_login(world: World, **more: Any) -> dict[str, object]:
    """Begin a login in a browser; the provider will repeat its nonce."""
    login = await begin_login(world, "browser", **more)
    world.provider.nonce = authorization_params(login)["nonce"]
    return login


def browser_account(**more: Any) -> Account:
    return account(redirect_ports=ANY_PORT, **more)


def assert_session_unchanged(world: World) -> None:
    """Assert that the session from before the login is unchanged."""
    assert world.session.credentials is not None
    assert world.session.credentials.refresh_token == Secret("rt-2")
    assert world.session.credentials.subject == ALICE
    assert "rt-2" not in world.provider.revoked


# ---- the browser flow


async def test_a_code_becomes_a_session() -> None:
    async with running(None, browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        assert login["expires_at"] == NOON + 600
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        assert (await result_of(world, login))["state"] == "ready"
        assert world.provider.codes == ["the-code"]
        assert await world.token() == "at-2"
        assert len(world.signatures.checked) == 1


async def test_a_login_waits_ten_minutes() -> None:
    async with running(None, browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        error = await failure_of(world, login)
        assert isinstance(error, errors.LoginRequired)
        assert anyio.current_time() == pytest.approx(600, abs=1)


FORGED: list[Callable[[dict[str, object]], str]] = [
    lambda login: redirect_url(login, state="another", code="c"),
    lambda login: redirect_url(login, state="another", error="access_denied"),
    lambda login: redirect_url(login, code="c").replace("/callback", "/elsewhere"),
    lambda login: redirect_url(login, code="c").replace("127.0.0.1", "localhost"),
    lambda login: redirect_url(login, code="c").replace("http://", "https://"),
    lambda login: redirect_url(login, code="c").replace("&code=c", "&code=c&code=d"),
    lambda _: "http://[",
    lambda _: "",
]


@pytest.mark.parametrize("forged", FORGED)
async def test_a_forged_redirect_url_is_rejected_and_the_login_goes_on(
    forged: Callable[[dict[str, object]], str],
) -> None:
    async with running(None, browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        with pytest.raises(errors.InvalidRequest) as caught:
            world.logins.redirect(str(login["login_id"]), forged(login))
        assert caught.value.parameter == "url"
        await anyio.sleep(1)
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        assert (await result_of(world, login))["subject"] == ALICE
        assert world.provider.codes == ["the-code"]


async def test_of_two_redirects_the_first_one_counts() -> None:
    async with running(FakeProvider(delay=5), browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        for code in ("one", "two"):
            world.logins.redirect(str(login["login_id"]), redirect_url(login, code=code))
        await result_of(world, login)
        assert world.provider.codes == ["one"]


async def test_a_code_is_not_sent_twice_even_if_the_response_was_lost() -> None:
    async with running(FakeProvider(script=[Lost("no answer")]), browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        assert isinstance(await failure_of(world, login), errors.Unavailable)
        assert world.provider.codes == ["the-code"]


@pytest.mark.parametrize("failures", [[Unsent("no route")], [Overloaded("HTTP 503"), Overloaded("HTTP 429", 2.0)]])
async def test_a_code_that_the_provider_has_not_processed_is_sent_again(failures: list[Failure]) -> None:
    async with running(FakeProvider(script=[*failures]), browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        assert (await result_of(world, login))["state"] == "ready"
        assert world.provider.codes == ["the-code"] * (1 + len(failures))
        pauses = [later - earlier for earlier, later in itertools.pairwise(world.provider.at)]
        assert pauses == [0.5, 2.0][: len(failures)]


@pytest.mark.parametrize("failure", [Busy("HTTP 500"), Lost("a gateway's"), Overloaded("", refresh_token=Secret("rt"))])
async def test_a_code_that_may_have_been_processed_is_not_sent_again(failure: Failure) -> None:
    async with running(FakeProvider(script=[failure]), browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world)
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        error = await failure_of(world, login)
        assert isinstance(error, errors.Unavailable)
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]
        assert world.provider.codes == ["the-code"]


async def test_a_code_is_tried_for_ten_seconds_and_only_while_the_login_is_wanted() -> None:
    async with running(FakeProvider(script=[Overloaded("HTTP 503")] * 99), browser_account(), logged_in=False) as world:
        for is_wanted in (True, False):
            began, login = anyio.current_time(), await begin_browser_login(world)
            world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
            await anyio.sleep(1)
            if not is_wanted:
                world.logins.leave("a connection")
            error = await failure_of(world, login)
            assert isinstance(error, errors.Unavailable if is_wanted else errors.Denied)
            assert anyio.current_time() - began == (10 if is_wanted else 1)


async def test_the_method_that_the_provider_accepts_is_kept() -> None:
    rejected = InvalidClient("invalid_client")
    async with running(FakeProvider(script=[rejected]), browser_account(), logged_in=False) as world:
        login = await begin_browser_login(world, secret="hunter2")
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        await result_of(world, login)
        assert world.provider.methods == [None, POST]
        world.provider.script = [rejected]
        with suppress(errors.Misconfigured):
            await world.refresher.refresh(world.session, Asker(), 15)
        await world.refresher.refresh(world.session, Asker(), 15)
        assert world.provider.methods[2:] == [POST, POST]
        assert world.session.credentials is not None
        assert world.session.credentials.auth_method == POST


@pytest.mark.parametrize("more", [{"token_endpoint_auth_method": BASIC}, {}], ids=["configured", "all refused"])
async def test_a_client_that_is_not_accepted_by_any_method_ends_the_login(more: dict[str, str]) -> None:
    provider = FakeProvider(script=[InvalidClient("invalid_client")] * 3)
    async with running(provider, browser_account(**more), logged_in=False) as world:
        login = await begin_browser_login(world, secret="hunter2")
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="the-code"))
        assert isinstance(await failure_of(world, login), errors.Misconfigured)
        assert world.provider.methods == ([BASIC] if more else [None, POST])


@pytest.mark.parametrize("refusal", [PolicyRefusal("blocked"), FlowNotAllowed("unauthorized_client")], ids=repr)
async def test_a_device_flow_that_is_refused_names_the_way_that_remains(refusal: Failure) -> None:
    async with running(logged_in=False) as world:
        world.provider.device = refusal
        with pytest.raises(errors.AgentError) as caught:
            await begin_login(world, "device")
        assert caught.value.remedy[0].line == "auth-agent login work --no-browser"
        assert caught.value.failure == ("refused" if isinstance(refusal, PolicyRefusal) else "misconfigured")


async def test_a_login_and_a_refresh_have_the_provider_looked_up_again() -> None:
    async with running(None, browser_account()) as world:
        await begin_browser_login(world)
        assert world.provider.looked_again == [60.0]
        await world.refresher.refresh(world.session, Asker(), 15)
        assert world.provider.looked_again == [60.0, math.inf]


async def test_a_redirect_with_another_iss_ends_the_login_and_its_code_is_not_sent() -> None:
    async with running(None, browser_account()) as world:
        login = await begin_browser_login(world)
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c", iss="https://evil.example/"))
        error = await failure_of(world, login)
        assert isinstance(error, errors.ProviderError)
        assert "evil.example" in error.message
        assert world.provider.codes == []
        assert_session_unchanged(world)


async def test_a_user_who_denies_access_ends_the_login() -> None:
    async with running(None, browser_account()) as world:
        login = await begin_browser_login(world)
        url = redirect_url(login, error="access_denied", error_description="The user cancelled.")
        world.logins.redirect(str(login["login_id"]), url)
        error = await failure_of(world, login)
        assert isinstance(error, errors.Denied)
        assert (error.reason, error.failure) == ("access_denied: The user cancelled", "refused")
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]
        assert_session_unchanged(world)


async def test_a_provider_without_an_authorization_endpoint_is_a_misconfiguration() -> None:
    provider = FakeProvider(metadata=Metadata(ISSUER, f"{ISSUER}token"))
    async with running(provider, browser_account(), logged_in=False) as world:
        with pytest.raises(errors.Misconfigured, match="authorization_endpoint"):
            await begin_login(world, "browser")


@pytest.mark.parametrize(
    ("metadata", "code"), [(Misconfigured("not found"), "misconfigured"), (Unsent("no network"), "unavailable")]
)
async def test_a_login_that_cannot_begin_is_an_error_with_a_code(metadata: Failure, code: str) -> None:
    async with running(FakeProvider(metadata=metadata), browser_account(), logged_in=False) as world:
        assert await all_of(lambda: begin_login(world, "browser")) == [code]


# ---- the device flow


async def test_a_person_logs_in_on_another_device() -> None:
    async with running(logged_in=False) as world:
        login = await begin_device_login(world, AuthorizationPending(""), AuthorizationPending(""))
        assert {name: login[name] for name in ("user_code", "verification_uri", "expires_at")} == {
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{ISSUER}activate",
            "expires_at": NOON + 900,
        }
        assert "dc" not in login.values()
        assert (await result_of(world, login))["state"] == "ready"
        assert world.provider.codes == ["dc"] * 3
        assert world.provider.at == [5, 10, 15]


async def test_the_device_flow_polls_at_the_providers_interval() -> None:
    async with running(logged_in=False) as world:
        await result_of(
            world, await begin_device_login(world, SlowDown(""), Busy("HTTP 503", 30), Transient("HTTP 500"))
        )
        assert world.provider.at == pytest.approx([5, 15, 45, 105])


@pytest.mark.parametrize(
    ("outcome", "kind", "part"),
    [
        (Refusal("access_denied"), errors.Denied, "try again"),
        (CodeExpired("the code has expired"), errors.LoginRequired, "try again"),
        (InvalidGrant("invalid_grant"), errors.LoginRequired, "try again"),
        (Misconfigured("unauthorized_client"), errors.Misconfigured, "client_id"),
        (Unusable("garbage"), errors.ProviderError, "operator"),
    ],
)
async def test_any_other_error_ends_the_device_flow(outcome: Failure, kind: type[errors.AgentError], part: str) -> None:
    async with running() as world:
        error = await failure_of(world, await begin_device_login(world, outcome))
        assert type(error) is kind
        assert error.reason == outcome.reason
        assert part in " ".join(remedy.text for remedy in error.remedy)
        assert ("auth-agent", "login", "work") in [remedy.command for remedy in error.remedy]
        assert_session_unchanged(world)


async def test_the_device_flow_waits_until_the_code_expires() -> None:
    async with running(logged_in=False) as world:
        error = await failure_of(world, await begin_device_login(world, *[AuthorizationPending("")] * 1000))
        assert isinstance(error, errors.LoginRequired)
        assert anyio.current_time() == pytest.approx(900, abs=5)


async def test_a_provider_without_a_device_flow_is_a_misconfiguration() -> None:
    async with running() as world:
        assert await all_of(lambda: begin_login(world)) == ["misconfigured"]
        assert_session_unchanged(world)


async def test_a_pasted_url_is_rejected_for_a_login_on_another_device() -> None:
    async with running(logged_in=False) as world:
        login = await begin_device_login(world)
        with pytest.raises(errors.InvalidRequest):
            world.logins.redirect(str(login["login_id"]), "http://127.0.0.1:8976/callback?state=x&code=y")
        await result_of(world, login)


# ---- client credentials


async def test_tokens_of_client_credentials_are_refreshed_ahead_of_time() -> None:
    async with running(FakeProvider(lifetime=100), CLIENT_ACCOUNT, logged_in=False) as world:
        record = await result_of(world, await begin_login(world, "browser", secret="hush"))
        assert (record["state"], record["name"], record["subject"]) == ("ready", CLIENT, None)
        for _ in range(100):
            await anyio.sleep(10)
            assert world.session.remaining(world.clock.now()) > 10
        assert set(world.provider.secrets) == {"hush"}
        assert 15 <= len(world.provider.secrets) <= 30
        assert world.session.credentials is not None
        assert world.session.credentials.refresh_token is None


async def test_the_client_secret_is_remembered() -> None:
    async with running(None, CLIENT_ACCOUNT, logged_in=False) as world:
        assert await all_of(lambda: begin_login(world)) == ["invalid_request"]
        await result_of(world, await begin_login(world, secret="hush"))
        await result_of(world, await begin_login(world))
        assert world.provider.secrets == ["hush", "hush"]


async def test_a_client_credentials_account_accepts_no_refresh_token() -> None:
    async with running(None, CLIENT_ACCOUNT, logged_in=False) as world:
        assert await all_of(world.log_in) == ["invalid_request"]
        assert world.provider.presented == []


async def test_a_client_credentials_request_is_retried_after_a_lost_response() -> None:
    async with running(FakeProvider(script=[Lost(""), Lost("")]), CLIENT_ACCOUNT, logged_in=False) as world:
        assert (await result_of(world, await begin_login(world, secret="hush")))["state"] == "ready"
        assert len(world.provider.secrets) == 3


async def test_an_account_changed_to_client_credentials_loses_its_users_session() -> None:
    async with running() as world:
        world.table.configure(config(CLIENT_ACCOUNT))
        assert await all_of(world.token) == ["login_required"]
        assert world.session.reason == "account_changed"
        await result_of(world, await begin_login(world, secret="hush"))
        assert await world.token() == "at-3"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_is_required_if_the_auth_method_needs_one(method: str) -> None:
    async with running(None, account(token_endpoint_auth_method=method), logged_in=False) as world:
        for flow in ("device", "browser", None):
            with pytest.raises(errors.InvalidRequest) as caught:
                await (world.log_in() if flow is None else begin_login(world, flow))
            assert caught.value.details["parameter"] == "client_secret"
            (remedy,) = caught.value.remedy
            command = "import" if flow is None else "login"
            assert remedy.command == ("auth-agent", command, "work", "--client-secret")


async def test_a_secret_is_rejected_if_the_client_is_public() -> None:
    async with running(None, account(token_endpoint_auth_method="none"), logged_in=False) as world:
        with pytest.raises(errors.InvalidRequest) as caught:
            await begin_login(world, secret="hush")
        assert caught.value.parameter == "client_secret"


async def test_an_old_secret_is_not_sent_once_the_client_is_public() -> None:
    async with running(logged_in=False) as world:
        await result_of(world, await begin_device_login(world, secret="hush"))
        world.table.configure(config(account(token_endpoint_auth_method="none")))
        await result_of(world, await begin_device_login(world))
        assert world.session.credentials is not None
        assert world.session.credentials.client_secret is None


# ---- concurrent, cancelled and outdated logins


async def test_a_second_login_replaces_the_first_one() -> None:
    async with running(None, browser_account(), logged_in=False) as world:
        first = await begin_browser_login(world)
        ends: list[errors.AgentError] = []

        async def wait() -> None:
            ends.append(await failure_of(world, first))

        seconds: list[dict[str, object]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            seconds.append(await begin_browser_login(world))
        (second,) = seconds
        assert isinstance(ends[0], errors.Denied)
        with pytest.raises(errors.InvalidRequest) as caught:
            world.logins.redirect(str(first["login_id"]), redirect_url(first, code="c"))
        assert caught.value.parameter == "login_id"
        world.logins.redirect(str(second["login_id"]), redirect_url(second, code="c"))
        assert (await result_of(world, second))["state"] == "ready"


async def test_of_logins_begun_at_the_same_moment_one_remains() -> None:
    async with running(FakeProvider(preparation=3), browser_account(), logged_in=False) as world:
        logins: list[dict[str, object]] = []

        async def begin() -> None:
            logins.append(await begin_browser_login(world))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(begin)
        records: list[dict[str, object]] = []
        for login in logins:
            world.provider.nonce = authorization_params(login)["nonce"]
            with suppress(errors.InvalidRequest):
                world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c"))
                records.append(await result_of(world, login))
        assert [record["state"] for record in records] == ["ready"]
        with anyio.fail_after(5):
            await world.background.drain()  # the others are over


async def test_a_program_that_asks_again_and_again_does_not_end_another_programs_login() -> None:
    async with running() as world:
        pending = [AuthorizationPending("")] * 100
        await begin_device_login(world, *pending, program="greedy")
        login = await begin_device_login(world, *pending, program="modest")
        for _ in range(5):
            with pytest.raises(errors.Unavailable):
                await begin_login(world, program="greedy")
            await anyio.sleep(50)
        await anyio.sleep(60)
        other = await begin_device_login(world, *pending, program="greedy")  # a person, after a while
        assert (await failure_of(world, login)).code == "invalid_request"  # another one took its place
        world.logins.cancel(str(other["login_id"]))


async def test_a_programs_own_login_is_replaced_at_once() -> None:
    async with running() as world:
        first = await begin_device_login(world, *[AuthorizationPending("")] * 100)
        second = await begin_device_login(world)
        assert (await failure_of(world, first)).code == "invalid_request"  # another one took its place
        assert (await result_of(world, second))["state"] == "ready"


async def test_a_program_whose_logins_have_all_ports_gives_one_to_another_program() -> None:
    ports = tuple(free_ports(2))
    names = ("work", "second", "third", "fourth")
    async with running(None, *(account(name, redirect_ports=ports) for name in names)) as world:
        first = await begin_login(world, "browser", program="greedy", name="second")
        second = await begin_login(world, "browser", program="greedy", name="third")
        with pytest.raises(errors.Misconfigured):
            await begin_login(world, "browser", program="greedy", name="fourth")
        login = await begin_login(world, "browser", program="modest")
        assert (await failure_of(world, second)).code == "denied"
        with pytest.raises(errors.Misconfigured):  # they have one each
            await begin_login(world, "browser", program="greedy", name="fourth")
        for each in (first, login):
            world.logins.cancel(str(each["login_id"]))


async def test_a_login_that_is_cancelled_leaves_the_session() -> None:
    async with running() as world:
        login = await begin_device_login(world, *[AuthorizationPending("")] * 100)
        await anyio.sleep(12)
        world.logins.cancel(str(login["login_id"]))
        error = await failure_of(world, login)
        assert isinstance(error, errors.Denied)
        assert "cancelled" in error.message
        await anyio.sleep(60)
        assert len(world.provider.codes) == 2
        assert_session_unchanged(world)


async def test_a_login_ends_when_its_client_disconnects() -> None:
    async with running() as world:
        login = await begin_device_login(world, *[AuthorizationPending("")] * 100, owner=True)
        world.logins.leave("somebody else")
        await anyio.sleep(12)
        world.logins.leave(True)
        assert isinstance(await failure_of(world, login), errors.Denied)
        await anyio.sleep(60)
        assert len(world.provider.codes) == 2
        assert_session_unchanged(world)


@pytest.mark.parametrize("logged_in", [True, False])
async def test_tokens_that_arrive_after_a_cancel_are_revoked_if_that_ends_no_session(
    logged_in: bool,
) -> None:
    async with running(logged_in=logged_in) as world:
        world.provider.delay = 10
        login = await begin_device_login(world)
        await anyio.sleep(6)
        world.logins.cancel(str(login["login_id"]))
        assert isinstance(await failure_of(world, login), errors.Denied)
        assert world.provider.revoked == ([] if logged_in else ["rt-2"])
        if logged_in:
            assert_session_unchanged(world)


@pytest.mark.parametrize("failure", [Busy("HTTP 500"), InvalidGrant("invalid_grant")])
async def test_a_refresh_token_beside_a_failed_login_is_revoked_if_that_ends_no_session(failure: Failure) -> None:
    async with running(logged_in=False) as world:
        login = await begin_device_login(world, replace(failure, refresh_token=Secret("rt-new")))
        await failure_of(world, login)
        assert len(world.provider.codes) == 1  # the code has been used
        assert world.provider.revoked == ["rt-new"]


async def test_a_login_that_finishes_after_a_logout_is_discarded() -> None:
    async with running() as world:
        login = await begin_device_login(world)
        await world.logins.log_out(world.session, revoke=True)
        assert isinstance(await failure_of(world, login), errors.Denied)
        assert world.provider.revoked == ["rt-2", "rt-3"]
        assert await all_of(world.token) == ["login_required"]


async def test_a_login_to_an_account_that_changed_meanwhile_is_denied() -> None:
    async with running() as world:
        login = await begin_device_login(world)
        world.table.configure(config(account(client_id="another")))
        assert isinstance(await failure_of(world, login), errors.Denied)
        # Both it and the session that is blocked by the configuration are Alice's.
        assert world.provider.revoked == []


async def test_a_login_to_an_account_that_was_removed_meanwhile_is_revoked_and_leaves_nothing() -> None:
    store = FakeStore()
    async with running(logged_in=False, store=store) as world:
        login = await begin_device_login(world)
        world.table.configure(config(account("other")))
        error = await failure_of(world, login)
        assert isinstance(error, errors.Denied)
        assert error.failure == "account_changed"
        assert [remedy.line for remedy in error.remedy] == ["auth-agent reload"]
        assert world.provider.revoked == ["rt-2"]
        assert (world.session.credentials, store.entries) == (None, {})


async def test_a_login_to_an_account_that_was_removed_keeps_its_session_from_before() -> None:
    async with running() as world:
        login = await begin_device_login(world)
        world.table.configure(config(account("other")))
        assert isinstance(await failure_of(world, login), errors.Denied)
        assert_session_unchanged(world)
        world.table.configure(config(account()))
        assert await world.token() == "at-2"


@pytest.mark.parametrize("renamed", [True, False])
async def test_a_login_to_an_account_that_was_renamed_or_restored_meanwhile_ends_well(renamed: bool) -> None:
    async with running(logged_in=False) as world:
        login = await begin_device_login(world)
        if renamed:
            world.table.renames["new"] = "work"
            world.table.configure(config(account("new")))
        else:
            world.table.configure(config(account("other")))
            world.table.configure(config(account()))
        assert (await result_of(world, login))["account"] == ("new" if renamed else "work")
        assert world.provider.revoked == []


async def test_tokens_are_revoked_at_the_provider_that_issued_them() -> None:
    elsewhere = FakeProvider()
    async with running(logged_in=False) as world:
        login = await begin_device_login(world)
        world.table.configure(config(account(issuer="https://elsewhere.example/")))
        issuing_provider, world.provider = world.provider, elsewhere
        world.by_issuer = {ISSUER: issuing_provider}
        assert isinstance(await failure_of(world, login), errors.Denied)
        assert issuing_provider.revoked == ["rt-2"]
        assert elsewhere.revoked == []


async def test_a_defect_in_the_listener_only_ends_that_login() -> None:
    async with running(None, browser_account()) as world:

        async def fail(*_: object) -> None:
            raise OSError("the socket failed")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RedirectListener, "serve", fail)
            login = await begin_browser_login(world)
            assert isinstance(await failure_of(world, login), errors.Internal)
        assert_session_unchanged(world)


async def test_a_stopping_agent_cancels_logins() -> None:
    async with running() as world:
        login = await begin_device_login(world, *[AuthorizationPending("")] * 100)
        world.logins.call_all_off()
        assert isinstance(await failure_of(world, login), errors.Unavailable)
        assert await all_of(lambda: begin_login(world)) == ["unavailable"]
        with anyio.fail_after(1):
            await world.background.drain()


async def test_a_result_may_be_requested_again_until_the_next_login() -> None:
    async with running(logged_in=False) as world:
        login = await begin_device_login(world)
        assert await result_of(world, login) == await result_of(world, login)
        other = await begin_device_login(world)
        with pytest.raises(errors.InvalidRequest) as caught:
            await result_of(world, login)
        assert caught.value.parameter == "login_id"
        await result_of(world, other)


async def test_a_new_login_replaces_the_session() -> None:
    async with running() as world:
        assert await world.token() == "at-2"
        await result_of(world, await begin_device_login(world))
        assert await world.token() == "at-3"
        assert world.provider.revoked == []
        assert await world.token(world.session.demand_newer()) == "at-4"


# ---- checks

VALID_CLAIMS = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "iat": NOON, "exp": NOON + 3600}


def response_with(**claims: object) -> TokenResponse:
    return token_response("at-9", refresh_token="rt-9", id_token=jwt(**{**VALID_CLAIMS, **claims}))


@pytest.mark.parametrize(
    ("response", "kind", "part"),
    [
        (response_with(iss="https://evil.example/"), errors.ProviderError, "issuer"),
        (response_with(aud="another"), errors.ProviderError, "another client"),
        (response_with(sub=None), errors.ProviderError, "subject"),
        (response_with(exp=NOON - 600, iat=NOON - 4200), errors.ProviderError, "clock"),
        (response_with(iat=NOON + 600, exp=NOON + 4200), errors.ProviderError, "clock"),
        (response_with(sub="auth0|bob", name="Bob"), errors.Denied, "--switch-user"),
        (token_response(refresh_token="rt-9", id_token=Secret("garbage")), errors.ProviderError, "ID token"),
        (token_response(None, refresh_token="rt-9"), errors.Misconfigured, "no access token"),
    ],
)
async def test_a_login_whose_tokens_fail_a_check_leaves_the_old_session(
    response: TokenResponse, kind: type[errors.AgentError], part: str
) -> None:
    async with running() as world:
        error = await failure_of(world, await begin_device_login(world, response))
        assert isinstance(error, kind)
        assert part in " ".join([error.message, *(word for remedy in error.remedy for word in remedy.command or ())])
        # Only Bob's is known to be another user's; all others may be Alice's.
        assert world.provider.revoked == (["rt-9"] if kind is errors.Denied else [])
        assert await world.token() == "at-2"
        assert_session_unchanged(world)


@pytest.mark.parametrize(
    "response",
    [
        response_with(iss="https://evil.example/"),
        response_with(exp=NOON - 600, iat=NOON - 4200),
        token_response(refresh_token="rt-9", id_token=Secret("garbage")),
        token_response(None, refresh_token="rt-9"),
    ],
)
async def test_tokens_that_fail_a_check_are_revoked_if_there_is_no_session(response: TokenResponse) -> None:
    async with running(logged_in=False) as world:
        await failure_of(world, await begin_device_login(world, response))
        assert world.provider.revoked == ["rt-9"]


@pytest.mark.parametrize("code", ["c", None])
async def test_a_finished_login_keeps_its_result_and_no_secret(code: str | None) -> None:
    def live_requests() -> set[int]:
        gc.collect()
        return {id(item) for item in gc.get_objects() if isinstance(item, AuthorizationRequest)}

    before = live_requests()
    async with running(None, browser_account()) as world:
        login = await begin_browser_login(world)
        assert live_requests() - before
        fields = {"code": code} if code is not None else {"error": "access_denied"}
        world.logins.redirect(str(login["login_id"]), redirect_url(login, **fields))
        with suppress(errors.Denied):
            await world.logins.result(str(login["login_id"]))
        await anyio.wait_all_tasks_blocked()
        assert live_requests() - before == set()
        with nullcontext() if code is not None else pytest.raises(errors.Denied, match="access_denied"):
            assert (await world.logins.result(str(login["login_id"])))["state"] == "ready"
        world.logins.redirect(str(login["login_id"]), redirect_url(login, **fields))


async def test_an_id_token_without_the_nonce_is_rejected() -> None:
    async with running(None, browser_account()) as world:
        login = await begin_browser_login(world)
        world.provider.nonce = "of another login"
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c"))
        error = await failure_of(world, login)
        assert isinstance(error, errors.ProviderError)
        assert "nonce" in error.message
        assert world.provider.revoked == []
        assert_session_unchanged(world)


async def test_a_clock_that_is_59_s_off_is_tolerated() -> None:
    for offset in (-59, 59):
        async with running(logged_in=False) as world:
            response = response_with(iat=NOON + offset, exp=NOON + offset + 60)
            assert (await result_of(world, await begin_device_login(world, response)))["state"] == "ready"


async def test_switch_user_lets_another_user_replace_the_session() -> None:
    async with running() as world:
        login = await begin_device_login(world, response_with(sub="auth0|bob", name="Bob"), switch_user=True)
        assert (await result_of(world, login))["name"] == "Bob"
        assert world.provider.revoked == ["rt-2"]


async def test_a_forged_signature_is_rejected() -> None:
    async with running() as world:
        world.signatures.reason = "the ID token's signature is wrong"
        error = await failure_of(world, await begin_device_login(world))
        assert isinstance(error, errors.ProviderError)
        assert "signature" in error.message
        assert world.provider.revoked == []
        assert_session_unchanged(world)


async def test_a_signature_that_cannot_be_checked_is_rejected() -> None:
    async with running() as world:
        world.signatures.error = SignatureCheckError("the worker hangs")
        error = await failure_of(world, await begin_device_login(world))
        assert isinstance(error, errors.Unavailable)
        assert error.failure == "defect"  # the provider was reached
        assert world.provider.revoked == []
        assert_session_unchanged(world)


@pytest.mark.parametrize(
    ("keys", "code"), [(Busy("HTTP 500"), "unavailable"), (Misconfigured("none"), "misconfigured")]
)
async def test_a_login_without_the_providers_keys_is_rejected(keys: Failure, code: str) -> None:
    async with running() as world:
        world.provider.key_set = keys
        error = await failure_of(world, await begin_device_login(world))
        assert error.code == code
        assert world.provider.revoked == []
        assert_session_unchanged(world)


async def test_the_providers_keys_are_requested_for_thirty_seconds() -> None:
    async with running(logged_in=False) as world:
        world.provider.key_set = Busy("HTTP 503")
        began, login = anyio.current_time(), await begin_device_login(world)
        await anyio.sleep(DEVICE.interval + 20)
        world.provider.key_set = "{}"
        assert (await result_of(world, login))["state"] == "ready"
        assert anyio.current_time() - began < DEVICE.interval + 30
        world.provider.key_set = Busy("HTTP 503")
        began = anyio.current_time()
        assert isinstance(await failure_of(world, await begin_device_login(world)), errors.Unavailable)
        assert anyio.current_time() - began == DEVICE.interval + 30


async def test_nothing_is_revoked_because_the_keys_can_not_be_had() -> None:
    async with running(logged_in=False) as world:
        world.provider.key_set = Busy("HTTP 503")
        await failure_of(world, await begin_device_login(world))
        assert world.provider.revoked == []


# ---- without an ID token

NO_ID_TOKEN = token_response("at-9", refresh_token="rt-9", subject=None)
PLAIN = replace(METADATA, is_openid=False)
NO_USERINFO = Refusal("there is no UserInfo endpoint")


@pytest.mark.parametrize("scope", ["openid profile", "read:things"])
async def test_without_an_id_token_userinfo_says_who_logged_in_on_a_device(scope: str) -> None:
    async with running(None, account(scope=scope), logged_in=False) as world:
        record = await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert (record["state"], record["subject"], record["name"]) == ("ready", ALICE, "Alice")
        assert record["missing"] == ["id_token"]
        assert world.provider.profiles == ["at-9"]


@pytest.mark.parametrize(
    "answer", [NO_USERINFO, Rejected("HTTP 401"), Unusable("names no subject"), {"login": "alice"}], ids=repr
)
async def test_a_session_has_no_subject_if_nothing_tells_it(answer: Failure | dict[str, object]) -> None:
    async with running(None, account(scope="read:things"), logged_in=False) as world:
        world.provider.profile_script = [answer]
        record = await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert (record["state"], record["subject"]) == ("ready", None)
        assert record["name"] == (None if isinstance(answer, Failure) else "alice")
        assert record["missing"] == ["id_token", "subject"]


async def test_userinfo_is_asked_again_if_it_can_not_tell_just_now() -> None:
    async with running(logged_in=False) as world:
        world.provider.profile_script = [Busy("HTTP 503"), Unsent("no route"), {"sub": ALICE}]
        record = await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert record["subject"] == ALICE
        world.provider.profile_script = [Busy("HTTP 503")] * 100
        error = await failure_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert isinstance(error, errors.Unavailable)
        assert world.session.epoch == record["epoch"]


async def test_an_import_does_not_fail_because_of_userinfo() -> None:
    async with running(logged_in=False) as world:
        world.provider.script, world.provider.profile_script = [NO_ID_TOKEN], [Busy("HTTP 503")] * 100
        assert (await world.log_in())["subject"] is None


async def test_in_the_browser_an_openid_provider_must_send_an_id_token() -> None:
    """Its nonce binds the tokens to this login."""
    async with running(None, browser_account(), logged_in=False) as world:
        login = await begin_login(world, "browser")
        world.provider.script = [NO_ID_TOKEN]
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c"))
        error = await failure_of(world, login)
        assert isinstance(error, errors.ProviderError)
        assert "no usable ID token" in error.message


@pytest.mark.parametrize("plain", [{"metadata": PLAIN}, {}])
async def test_in_the_browser_a_provider_of_oauth_alone_needs_none(plain: dict[str, Any]) -> None:
    scope = "openid" if plain else "read:things"
    async with running(FakeProvider(**plain), browser_account(scope=scope), logged_in=False) as world:
        login = await begin_login(world, "browser")
        world.provider.script = [NO_ID_TOKEN]
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c"))
        assert (await result_of(world, login))["subject"] == ALICE


@pytest.mark.parametrize("first", [NO_ID_TOKEN, token_response("at-9", refresh_token="rt-9")], ids=["none", "Alice"])
@pytest.mark.parametrize("second", [NO_ID_TOKEN, token_response("at-8", refresh_token="rt-8")], ids=["none", "Alice"])
async def test_over_a_live_session_of_nobody_known_another_login_needs_switch_user(
    first: TokenResponse, second: TokenResponse
) -> None:
    if first.id_token is not None and second.id_token is not None:
        return
    async with running(logged_in=False) as world:
        world.provider.profile_script = [NO_USERINFO] * 100
        before = await result_of(world, await begin_device_login(world, first))
        error = await failure_of(world, await begin_device_login(world, second))
        assert (error.failure, error.remedy) == ("wrong_user", (remedies.switch_user("work"),))
        assert world.session.epoch == before["epoch"]
        after = await result_of(world, await begin_device_login(world, second, switch_user=True))
        assert after["epoch"] != before["epoch"]


def record_of(world: World) -> dict[str, object]:
    return record(world.session, world.clock.now())


async def test_a_session_of_nobody_known_is_that_of_the_user_whom_userinfo_names_later() -> None:
    async with running(logged_in=False) as world:
        world.provider.profile_script = [NO_USERINFO]
        first = await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert first["subject"] is None
        world.provider.profile_script = [{"sub": ALICE, "name": "Alice"}]
        await anyio.sleep(61)
        await world.profiles.get(world.session, 60, 15)
        known = record_of(world)
        assert (known["subject"], known["name"], known["missing"]) == (ALICE, "Alice", ["id_token"])
        # From now on, another one is another user.
        world.provider.profile_script = [{"sub": "mallory", "name": "Mallory"}]
        await anyio.sleep(61)
        assert (await world.profiles.get(world.session, 60, 15)).claims["sub"] == ALICE
        await result_of(world, await begin_device_login(world, token_response("at-8", refresh_token="rt-8")))
        assert record_of(world)["subject"] == ALICE


async def test_userinfo_may_name_the_user_during_a_refresh() -> None:
    async with running(FakeProvider(subject=None), logged_in=False) as world:
        world.provider.profile_script = [NO_USERINFO]
        await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        await anyio.sleep(61)
        world.provider.delay, world.provider.live = 5, "rt-9"
        flight = world.refresher.start(world.session)
        assert flight is not None
        assert world.session.identify(ALICE, "Alice")
        await flight.done.wait()
        assert world.session.refreshes == 1
        assert record_of(world)["subject"] == ALICE


async def test_a_session_of_nobody_known_that_has_ended_is_replaced() -> None:
    ending = replace(NO_ID_TOKEN, refresh_token=None, lifetime=60)
    async with running(None, account(scope="read:things"), logged_in=False) as world:
        world.provider.profile_script = [NO_USERINFO] * 100
        first = await result_of(world, await begin_device_login(world, ending))
        assert first["missing"] == ["id_token", "subject", "refresh_token"]
        await anyio.sleep(61)
        record = await result_of(world, await begin_device_login(world, NO_ID_TOKEN))
        assert record["state"] == "ready"


# ---- the name


NAMELESS = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "iat": NOON, "exp": NOON + 3600}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"sub": ALICE, "name": "Alice"}, "Alice"),
        ({"sub": "auth0|bob", "name": "Bob"}, None),
        ({"name": "Alice"}, None),
        (NO_USERINFO, None),
        (Unsent("no route"), None),
    ],
)
async def test_a_name_that_the_id_token_lacks_comes_from_userinfo(
    answer: Failure | dict[str, object], name: str | None
) -> None:
    async with running(logged_in=False) as world:
        world.provider.profile_script = [answer]
        record = await result_of(world, await begin_device_login(world, token_response(id_token=jwt(**NAMELESS))))
        assert (record["subject"], record["name"], record["missing"]) == (ALICE, name, [])
        assert len(world.provider.profiles) == 1


async def test_a_login_does_not_wait_long_for_a_name() -> None:
    async with running(logged_in=False) as world:
        world.provider.delay = 20
        login = await begin_device_login(world, token_response(id_token=jwt(**NAMELESS)))
        began = anyio.current_time()
        assert (await result_of(world, login))["name"] is None
        assert anyio.current_time() - began < 35


async def test_without_a_scope_that_has_names_nobody_is_asked_for_one() -> None:
    async with running(None, account(scope="openid"), logged_in=False) as world:
        await result_of(world, await begin_device_login(world, token_response(id_token=jwt(**NAMELESS))))
        assert world.provider.profiles == []


# ---- the scope that is requested


@pytest.mark.parametrize(
    ("supported", "changes", "expected"),
    [
        (None, {}, "openid profile email offline_access"),
        (("openid", "api"), {}, "openid profile email"),
        (("openid", "api"), {"scope": "openid offline_access"}, "openid offline_access"),
        (
            ("openid",),
            {"scope": AUTHORIZATION_CODE.default_scope, "names_scope": True},
            AUTHORIZATION_CODE.default_scope,
        ),
    ],
)
async def test_the_default_scope_of_a_login_is_what_the_provider_takes(
    supported: tuple[str, ...] | None, changes: dict[str, Any], expected: str
) -> None:
    provider = FakeProvider(metadata=replace(METADATA, scopes_supported=supported))
    async with running(provider, browser_account(**changes), logged_in=False) as world:
        login = await begin_login(world, "browser")
        assert authorization_params(login)["scope"] == expected
        # A response without a scope grants what was asked for, and no more (RFC 6749, section 5.1).
        nonce = authorization_params(login)["nonce"]
        world.provider.script = [token_response("at-9", refresh_token="rt-9", nonce=nonce, scope=None)]
        world.logins.redirect(str(login["login_id"]), redirect_url(login, code="c"))
        await result_of(world, login)
        token = world.session.current()
        assert token is not None
        assert token.scope == expected


async def test_a_device_login_is_begun_again_without_a_refused_offline_access() -> None:
    async with running(logged_in=False) as world:
        world.provider.device_script = [ScopeRefusal("invalid_scope"), DEVICE]
        response = token_response("at-9", refresh_token="rt-9", scope=None)
        login = await begin_login(world)
        assert world.provider.device_scopes == ["openid profile email offline_access", "openid profile email"]
        world.provider.script = [response]
        await result_of(world, login)
        token = world.session.current()
        assert token is not None
        assert token.scope == "openid profile email"


async def test_a_scope_of_the_configuration_is_not_changed() -> None:
    async with running(None, account(scope="openid offline_access"), logged_in=False) as world:
        world.provider.device_script = [ScopeRefusal("invalid_scope"), DEVICE]
        with pytest.raises(errors.Denied) as raised:
            await begin_login(world)
        assert raised.value.remedy == (remedies.log_in_without_offline_access("work", "openid"),)
        assert len(world.provider.device_scopes) == 1


async def test_a_defect_in_a_login_only_ends_that_login() -> None:
    async with running() as world:
        world.signatures.error = RuntimeError("canary")
        error = await failure_of(world, await begin_device_login(world))
        assert isinstance(error, errors.Internal)
        assert "canary" not in error.message
        assert await world.token() == "at-2"
