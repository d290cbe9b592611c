"""The provider does what the other tests rely on, and its faults do what their names say."""

import base64
import email.utils
import hmac
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet, RSAKey

from tests.op import forge
from tests.op.install import node_command
from tests.op.login import LoginError
from tests.op.provider import (
    AUTH0_USERINFO_LIMIT,
    CREDENTIALS,
    MANAGEMENT_SCOPE,
    SERVER,
    FaultMode,
    OpenIDProvider,
    Presented,
    ProviderError,
    Tokens,
    fingerprint,
)

API = "https://api.example"
OTHER_API = "https://other-api.example"

# Long enough for the provider to have done its work, short against the faults that hold a response.
IMPATIENCE = 0.5
FOREVER_MS = 60_000


@pytest.fixture(scope="module")
def running() -> Iterator[OpenIDProvider]:
    with OpenIDProvider() as provider:
        yield provider


@pytest.fixture
def provider(running: OpenIDProvider) -> OpenIDProvider:
    running.reset()
    return running


@pytest.fixture(scope="module")
def lenient() -> Iterator[OpenIDProvider]:
    """Replaced refresh tokens may be used again, audiences may be ignored, access tokens are gone quickly."""
    with OpenIDProvider(overlap=60, audience_fallback=True, access_token_lifetime=1) as provider:
        yield provider


@pytest.fixture(scope="module")
def plain() -> Iterator[OpenIDProvider]:
    with OpenIDProvider(flavor="plain", rotate=False) as provider:
        yield provider


def refresh_token_of(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


def replacement(response: httpx.Response) -> str:
    token: str = response.raise_for_status().json()["refresh_token"]
    return token


def outcome(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("error")


def claims_of(jwt: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
    return claims


DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# A verifier and its challenge, from RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def authorization_url(provider: OpenIDProvider, redirect_uri: str, **more: str) -> str:
    """Return an authorization URL, as a client makes it."""
    request = {
        "client_id": "native-app",
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "scope": "openid",
        "state": "some-state",
        "nonce": "some-nonce",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{provider.url}{provider.paths['authorization']}?{urlencode(request | more)}"


def params_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def begin_device(provider: OpenIDProvider, client_id: str = "native-app") -> dict[str, Any]:
    form = {"client_id": client_id, "scope": "openid offline_access"}
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        device: dict[str, Any] = client.post(provider.paths["device_authorization"], data=form).json()
    return device


def poll(provider: OpenIDProvider, device: dict[str, Any]) -> httpx.Response:
    form = {"grant_type": DEVICE_GRANT, "client_id": "native-app", "device_code": device["device_code"]}
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        return client.post(provider.token_path, data=form)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def refresh_impatiently(provider: OpenIDProvider, token: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "native-app", "refresh_token": token}
    with httpx.Client(trust_env=False, timeout=IMPATIENCE) as client:
        return client.post(provider.url + provider.token_path, data=form)


# Grants


def test_a_login_grants_tokens_for_the_user(provider: OpenIDProvider) -> None:
    tokens = provider.login("auth0|bob")

    assert (tokens.token_type, tokens.expires_in) == ("Bearer", 5)
    assert tokens.scope == "openid profile email offline_access"
    assert provider.userinfo(tokens.access_token).json()["sub"] == "auth0|bob"
    assert tokens.id_token is not None
    assert claims_of(tokens.id_token)["iss"] == provider.issuer == provider.url + "/"


def test_the_repr_of_tokens_has_no_secret(provider: OpenIDProvider) -> None:
    tokens = provider.login()

    output = repr(tokens)

    secrets = [tokens.access_token, tokens.refresh_token, tokens.id_token]
    assert [secret for secret in secrets if secret is None or secret in output] == []


def test_a_client_without_the_refresh_grant_gets_no_refresh_token(provider: OpenIDProvider) -> None:
    assert provider.login(client_id="no-refresh-app").refresh_token is None


def test_a_refresh_token_belongs_to_its_client(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(client_id="second-app"))

    assert outcome(provider.refresh(token, client_id="native-app")) == (403, "invalid_grant")
    assert provider.refresh(token, client_id="second-app").status_code == 200


def test_with_an_audience_the_access_token_is_a_jwt(provider: OpenIDProvider) -> None:
    tokens = provider.login(audience=API, scope="openid offline_access read:things")

    claims = claims_of(tokens.access_token)
    assert claims["aud"] == [API, provider.url + "/userinfo"]
    assert claims["sub"] == "auth0|alice"
    assert claims["scope"] == tokens.scope == "openid offline_access read:things"
    assert provider.userinfo(tokens.access_token).json()["sub"] == "auth0|alice"


def test_a_refresh_keeps_the_audience_of_the_login(provider: OpenIDProvider) -> None:
    tokens = provider.login(audience=API, scope="openid offline_access read:things")

    refreshed = provider.refresh(refresh_token_of(tokens)).json()

    assert claims_of(refreshed["access_token"])["aud"] == [API, provider.url + "/userinfo"]
    assert refreshed["scope"] == tokens.scope


def test_userinfo_refuses_a_jwt_with_a_wrong_signature(provider: OpenIDProvider) -> None:
    token = provider.login(audience=API, scope="openid").access_token
    head, payload, _ = token.split(".")

    assert provider.userinfo(f"{head}.{payload}.{'A' * 342}").status_code == 401


def test_a_token_request_may_be_json_as_at_auth0(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    form = {"grant_type": "refresh_token", "client_id": "native-app", "refresh_token": token}

    with httpx.Client(trust_env=False) as client:
        assert client.post(provider.url + provider.token_path, json=form).status_code == 200
        unreadable = client.post(
            provider.url + provider.token_path, content="{", headers={"Content-Type": "application/json"}
        )
    assert outcome(unreadable) == (400, "invalid_request")


def test_polls_for_a_device_code_are_rate_limited(provider: OpenIDProvider) -> None:
    device = begin_device(provider)

    responses = [outcome(poll(provider, device)) for _ in range(2)]

    assert device["interval"] == 5
    assert responses == [(403, "authorization_pending"), (429, "slow_down")]


# Clients with a secret


@pytest.mark.parametrize("client_id", ["basic-app", "post-app", "odd-app"])
def test_a_client_with_a_secret_logs_a_user_in(provider: OpenIDProvider, client_id: str) -> None:
    tokens = provider.login(client_id=client_id)

    assert provider.refresh(refresh_token_of(tokens), client_id=client_id).status_code == 200
    assert [request.client_id for request in provider.requests(provider.token_path)] == [client_id] * 2


def test_the_odd_secret_has_characters_that_must_be_encoded() -> None:
    assert set(CREDENTIALS["odd-app"].secret) >= set(":+% /&=")


@pytest.mark.parametrize("client_id", CREDENTIALS)
def test_a_client_without_its_secret_is_refused(provider: OpenIDProvider, client_id: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": client_id}
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        silent = client.post(provider.token_path, data=form)
        mistaken = client.post(provider.token_path, data=form | {"client_secret": "wrong"})

    assert (outcome(silent), outcome(mistaken)) == ((401, "invalid_client"), (401, "invalid_client"))


@pytest.mark.parametrize(("client_id", "status"), [("service-app", 401), ("service-basic", 200)])
def test_a_secret_in_the_header_needs_client_secret_basic(
    provider: OpenIDProvider, client_id: str, status: int
) -> None:
    with httpx.Client(base_url=provider.url, trust_env=False, auth=(client_id, "service-secret")) as client:
        response = client.post(provider.token_path, data={"grant_type": "client_credentials"})

    assert response.status_code == status


@pytest.mark.parametrize(("client_id", "status"), [("service-app", 200), ("service-basic", 401)])
def test_a_secret_in_the_form_needs_client_secret_post(provider: OpenIDProvider, client_id: str, status: int) -> None:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "service-secret"}
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        response = client.post(provider.token_path, data=form)

    assert response.status_code == status


@pytest.mark.parametrize("client_id", ["service-app", "service-basic", "odd-app"])
def test_a_service_gets_a_token_without_a_user(provider: OpenIDProvider, client_id: str) -> None:
    granted = provider.client_credentials(client_id, audience=API, scope="read:things").json()

    claims = claims_of(granted["access_token"])
    assert (granted["expires_in"], granted["scope"]) == (5, "read:things")
    assert (claims["aud"], claims["sub"], claims["scope"]) == (API, f"{client_id}@clients", "read:things")
    assert granted.keys() & {"refresh_token", "id_token"} == set()


def test_without_an_audience_a_service_gets_an_opaque_token(provider: OpenIDProvider) -> None:
    granted = provider.client_credentials().json()

    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 5)
    assert "." not in granted["access_token"]


def test_a_service_at_the_plain_flavor_names_its_api_as_a_resource(plain: OpenIDProvider) -> None:
    granted = plain.client_credentials(resource=API, scope="read:things").json()

    claims = claims_of(granted["access_token"])
    assert (claims["aud"], claims["sub"], claims["scope"]) == (API, "service-app", "read:things")


def test_only_a_service_gets_tokens_for_itself(provider: OpenIDProvider) -> None:
    assert provider.client_credentials("basic-app").status_code == 400


# Walking through its pages


def test_a_visit_ends_at_the_redirect_uri(provider: OpenIDProvider) -> None:
    redirect_uri = "http://127.0.0.1:9/callback"

    address = provider.visit(authorization_url(provider, redirect_uri), "auth0|bob")

    assert address.startswith(f"{redirect_uri}?")
    assert params_of(address).keys() == {"code", "state", "iss"}
    assert params_of(address)["state"] == "some-state"
    form = {
        "grant_type": "authorization_code",
        "client_id": "native-app",
        "redirect_uri": redirect_uri,
        "code": params_of(address)["code"],
        "code_verifier": VERIFIER,
    }
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        claims = claims_of(client.post(provider.token_path, data=form).json()["id_token"])
    assert (claims["sub"], claims["nonce"]) == ("auth0|bob", "some-nonce")


def test_enter_follows_the_redirect_to_the_listener(provider: OpenIDProvider) -> None:
    with OpenIDProvider() as listener:  # something that responds
        response = provider.enter(authorization_url(provider, f"{listener.url}/callback"))

        assert response.status_code == 404
        assert response.url.path == "/callback"
        assert listener.count("/callback") == 1


def test_a_login_can_be_cancelled(provider: OpenIDProvider) -> None:
    address = provider.cancel(authorization_url(provider, "http://127.0.0.1:9/callback"))

    response = params_of(address)
    assert (response["error"], response["state"]) == ("access_denied", "some-state")


def test_a_login_that_the_provider_refuses_raises_its_error(provider: OpenIDProvider) -> None:
    with pytest.raises(LoginError, match="invalid_redirect_uri"):
        provider.visit(authorization_url(provider, "https://elsewhere.example/"))


def test_a_device_is_approved(provider: OpenIDProvider) -> None:
    device = begin_device(provider)

    provider.approve(device["verification_uri_complete"], "auth0|bob")

    granted = poll(provider, device).json()
    assert claims_of(granted["id_token"])["sub"] == "auth0|bob"
    assert "refresh_token" in granted


def test_a_device_is_approved_by_its_user_code(provider: OpenIDProvider) -> None:
    device = begin_device(provider)

    provider.approve(device["verification_uri"], "auth0|bob", user_code=device["user_code"].lower())

    assert poll(provider, device).status_code == 200


def test_a_wrong_user_code_approves_no_device(provider: OpenIDProvider) -> None:
    device = begin_device(provider)

    with pytest.raises(LoginError, match="code you entered is incorrect"):
        provider.approve(device["verification_uri"], user_code="XXXX-XXXX")

    assert outcome(poll(provider, device)) == (403, "authorization_pending")


@pytest.mark.parametrize("complete", [True, False])
def test_a_device_is_denied(provider: OpenIDProvider, complete: bool) -> None:
    device = begin_device(provider)

    if complete:
        provider.deny(device["verification_uri_complete"])
    else:
        provider.deny(device["verification_uri"], user_code=device["user_code"])

    assert outcome(poll(provider, device)) == (403, "access_denied")


def test_the_pages_fetch_nothing_from_elsewhere(provider: OpenIDProvider) -> None:
    device = begin_device(provider)
    pages = [
        authorization_url(provider, "http://127.0.0.1:9/callback"),
        authorization_url(provider, "https://elsewhere.example/"),
        device["verification_uri"],
    ]
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        texts = [client.get(page).text for page in pages]

    assert [text for text in texts if "<style>" not in text or "@import" in text] == []


# The secrets that it reports


def test_the_provider_reports_all_secrets() -> None:
    with OpenIDProvider() as provider:
        tokens = provider.login(client_id="post-app")
        provider.fault("drop-after")
        with pytest.raises(httpx.TransportError):
            provider.refresh(refresh_token_of(tokens), client_id="post-app")
        result = provider.secrets()
    assert result["refresh_token"][0] == tokens.refresh_token
    assert len(result["refresh_token"]) == 2  # the one whose response was lost as well
    assert tokens.access_token in result["access_token"]
    assert tokens.id_token in result["id_token"]
    assert [len(result[kind]) for kind in ("code", "code_verifier", "state", "nonce")] == [1] * 4
    assert result["client_secret"] == ["post-secret"]


# Its clock


@pytest.mark.parametrize("offset", [-700, 700])
def test_the_providers_clock_can_be_wrong(offset: int) -> None:
    with OpenIDProvider(clock_offset=offset) as wrong:
        tokens = wrong.login(audience=API, scope="openid offline_access read:things")
        userinfo = wrong.userinfo(tokens.access_token)
        refreshed = wrong.refresh(refresh_token_of(tokens))
        logged = wrong.requests(wrong.token_path)[0].at

    assert tokens.id_token is not None
    times = [claims_of(token)["iat"] - offset for token in (tokens.id_token, tokens.access_token)]
    times.append(email.utils.parsedate_to_datetime(userinfo.headers["date"]).timestamp() - offset)
    assert times == [pytest.approx(time.time(), abs=20)] * 3
    assert (userinfo.status_code, refreshed.status_code) == (200, 200)  # by its own clock all is well
    assert logged == pytest.approx(time.time(), abs=20)


def test_the_providers_clock_can_be_set_while_it_runs() -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        tokens = provider.login()
        statuses: list[int] = []
        for offset in (3590, 3610, 0):
            provider.set_clock(offset)
            statuses.append(provider.userinfo(tokens.access_token).status_code)
    assert statuses == [200, 401, 401]  # what has expired is forgotten


# Rotation


def test_reuse_of_a_replaced_refresh_token_revokes_the_whole_family(provider: OpenIDProvider) -> None:
    first = refresh_token_of(provider.login())
    second = replacement(provider.refresh(first))

    assert second != first
    assert outcome(provider.refresh(first)) == (403, "invalid_grant")
    assert outcome(provider.refresh(second)) == (403, "invalid_grant")


def test_with_an_overlap_the_previous_refresh_token_can_be_used_again(lenient: OpenIDProvider) -> None:
    first = refresh_token_of(lenient.login())
    replacement(lenient.refresh(first))

    second = replacement(lenient.refresh(first))

    assert lenient.refresh(second).status_code == 200


def test_the_overlap_is_only_for_the_token_replaced_last(lenient: OpenIDProvider) -> None:
    first = refresh_token_of(lenient.login())
    second = replacement(lenient.refresh(first))
    third = replacement(lenient.refresh(second))

    assert outcome(lenient.refresh(first)) == (403, "invalid_grant")
    assert outcome(lenient.refresh(third)) == (403, "invalid_grant")


def test_the_overlap_ends() -> None:
    with OpenIDProvider(overlap=1) as short:
        first = refresh_token_of(short.login())
        replacement(short.refresh(first))
        wait_until(lambda: outcome(short.refresh(first)) == (403, "invalid_grant"))


def test_an_audience_may_be_ignored(lenient: OpenIDProvider) -> None:
    tokens = lenient.login(audience=API, scope="openid offline_access read:things")

    refreshed = lenient.refresh(refresh_token_of(tokens), audience="https://fallback.example").json()

    assert claims_of(refreshed["access_token"])["aud"] == [API, lenient.url + "/userinfo"]


def test_an_access_token_expires_without_tolerance(lenient: OpenIDProvider) -> None:
    tokens = lenient.login()
    granted = time.monotonic()

    wait_until(lambda: lenient.userinfo(tokens.access_token).status_code == 401)

    assert time.monotonic() - granted < 10


# The plain flavor


def test_the_plain_flavor_has_its_own_paths_and_statuses(plain: OpenIDProvider) -> None:
    tokens = plain.login()

    assert (plain.token_path, plain.issuer) == ("/token", plain.url)
    assert plain.userinfo(tokens.access_token).json()["sub"] == "auth0|alice"
    assert outcome(plain.refresh("no such token")) == (400, "invalid_grant")


def test_without_rotation_a_refresh_token_stays(plain: OpenIDProvider) -> None:
    token = refresh_token_of(plain.login())

    assert replacement(plain.refresh(token)) == token
    assert replacement(plain.refresh(token)) == token


@pytest.mark.parametrize("flavor", ["running", "plain"])
def test_the_paths_are_those_of_the_metadata(flavor: str, request: pytest.FixtureRequest) -> None:
    provider: OpenIDProvider = request.getfixturevalue(flavor)
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        document: dict[str, Any] = client.get("/.well-known/openid-configuration").json()
        pages = {name: client.get(provider.paths[name]).status_code for name in ("jwks", "code_verification")}

    endpoints = {name.removesuffix("_endpoint"): value for name, value in document.items()}
    endpoints["jwks"] = document["jwks_uri"]
    named = {name: provider.url + path for name, path in provider.paths.items() if name in endpoints}
    # The metadata has neither the page for device codes nor what is Auth0's alone.
    assert provider.paths.keys() - named.keys() - {"management", "logout"} == {"code_verification"}
    assert {name: endpoints[name] for name in named} == named
    assert set(pages.values()) == {200}


# Its log and ledger


def test_the_ledger_counts_requests_and_successes_of_each_refresh_token(provider: OpenIDProvider) -> None:
    first = refresh_token_of(provider.login())
    second = replacement(provider.refresh(first))
    provider.refresh(first)

    assert provider.ledger() == {fingerprint(first): Presented(2, 1)}
    provider.refresh(second)
    assert provider.ledger()[fingerprint(second)] == Presented(1, 0)


def test_the_ledger_has_the_times_of_repeated_refresh_tokens(lenient: OpenIDProvider) -> None:
    token = refresh_token_of(lenient.login())
    lenient.fault("drop-after")
    with pytest.raises(httpx.RemoteProtocolError):
        lenient.refresh(token)
    lost = lenient.ledger()[fingerprint(token)]
    start = time.time()
    lenient.refresh(token)
    responded = lenient.ledger()[fingerprint(token)]
    lenient.refresh(token)
    repeated = lenient.ledger()[fingerprint(token)]

    assert (lost.answered_at, lost.repeated_at) == (None, ())
    assert responded.answered_at is not None
    assert start - 0.1 <= responded.answered_at
    assert (responded.presented, responded.repeated_at) == (2, ())
    assert (repeated.presented, repeated.answered_at, len(repeated.repeated_at)) == (3, responded.answered_at, 1)
    assert repeated.repeated_at[0] >= responded.answered_at


def test_the_log_has_each_request(provider: OpenIDProvider) -> None:
    before = time.time()
    provider.refresh("no such token")
    provider.userinfo("nonsense")

    refresh, userinfo = provider.requests()

    assert (refresh.path, refresh.grant_type, refresh.client_id, refresh.status) == (
        "/oauth/token",
        "refresh_token",
        "native-app",
        403,
    )
    assert (userinfo.path, userinfo.grant_type, userinfo.status) == ("/userinfo", None, 401)
    assert before - 0.1 <= refresh.at <= userinfo.at <= time.time() + 0.1
    assert provider.requests("/userinfo") == [userinfo]
    assert provider.requests(grant_type="refresh_token") == [refresh]
    assert (provider.count("/userinfo"), provider.count("/nowhere")) == (1, 0)


def test_a_reset_forgets_everything_but_the_grants(provider: OpenIDProvider) -> None:
    token = replacement(provider.refresh(refresh_token_of(provider.login())))
    provider.fault("status", status=500, times=None)

    provider.reset()

    assert (provider.requests(), provider.ledger(), provider.count(provider.token_path)) == ([], {}, 0)
    assert provider.refresh(token).status_code == 200


# One refresh token for several APIs


@pytest.fixture(scope="module")
def forgetful() -> Iterator[OpenIDProvider]:
    """Audiences that a refresh may not name are ignored, and a login for the Management API can't be refreshed."""
    with OpenIDProvider(
        multi_resource=False, other_audience="ignored", management_refresh_token=False, access_token_lifetime=600
    ) as provider:
        yield provider


def granted_for(provider: OpenIDProvider, response: httpx.Response) -> tuple[str | None, str]:
    """Return the API of an access token, or None for an opaque one, and its scopes."""
    granted = response.raise_for_status().json()
    if "." not in granted["access_token"]:
        return None, granted["scope"]
    claims = claims_of(granted["access_token"])
    assert claims["scope"] == granted["scope"]
    [api] = {claims["aud"]} if isinstance(claims["aud"], str) else {*claims["aud"]} - {provider.url + "/userinfo"}
    return api, granted["scope"]


def test_a_refresh_may_be_for_another_api(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(audience=API, scope="openid offline_access read:things"))

    first = provider.refresh(token, audience=OTHER_API, scope="write:things")
    second = provider.refresh(replacement(first), audience=OTHER_API, scope="openid read:things write:things")
    third = provider.refresh(replacement(second), audience=API)
    last = provider.refresh(replacement(third))

    assert [granted_for(provider, response) for response in (first, second, third, last)] == [
        (OTHER_API, "write:things"),
        (OTHER_API, "openid read:things write:things"),
        (API, "openid offline_access read:things"),
        (API, "openid offline_access read:things"),
    ]
    assert claims_of(last.json()["id_token"])["sub"] == "auth0|alice"
    assert provider.refresh(token).status_code == 403  # it was replaced at the first of them


def test_a_refresh_for_another_api_without_a_scope_gets_all_its_scopes(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(scope="openid offline_access"))

    other = provider.refresh(token, audience=OTHER_API)
    own = provider.refresh(replacement(other))

    assert granted_for(provider, other) == (OTHER_API, "openid offline_access read:things write:things")
    assert granted_for(provider, own) == (None, "openid offline_access")


def test_a_scope_that_another_api_does_not_have_is_left_out(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(audience=API, scope="openid offline_access"))

    refreshed = provider.refresh(token, audience=OTHER_API, scope="openid email read:things read:nothing")

    assert granted_for(provider, refreshed) == (OTHER_API, "openid read:things")


def test_three_apis_at_once_would_revoke_the_session(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(audience=API, scope="openid offline_access"))

    responses = [provider.refresh(token, audience=f"https://{name}.example") for name in ("one", "two")]

    assert [outcome(response) for response in responses] == [(200, None), (403, "invalid_grant")]
    assert outcome(provider.refresh(replacement(responses[0]))) == (403, "invalid_grant")


def test_an_unknown_api_is_refused(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())

    assert outcome(provider.refresh(token, audience="https://unknown.example")) == (400, "invalid_target")
    assert provider.refresh(token).status_code == 200  # it has not been replaced


def test_the_management_api_is_not_another_api_of_a_login(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(audience=API, scope="openid offline_access"))

    assert outcome(provider.refresh(token, audience=provider.management_audience)) == (400, "invalid_target")
    assert provider.refresh(token).status_code == 200


def test_a_refused_api_does_not_hide_a_reuse(provider: OpenIDProvider) -> None:
    first = refresh_token_of(provider.login())
    second = replacement(provider.refresh(first))

    assert outcome(provider.refresh(first, audience=provider.management_audience)) == (403, "invalid_grant")
    assert outcome(provider.refresh(second)) == (403, "invalid_grant")


def test_in_the_overlap_a_refresh_may_be_for_another_api(lenient: OpenIDProvider) -> None:
    token = refresh_token_of(lenient.login())
    lenient.refresh(token, audience=OTHER_API).raise_for_status()

    assert outcome(lenient.refresh(token, audience=lenient.management_audience)) == (400, "invalid_target")
    assert granted_for(lenient, lenient.refresh(token, audience=OTHER_API, scope="read:things")) == (
        OTHER_API,
        "read:things",
    )


def test_another_api_may_be_refused() -> None:
    with OpenIDProvider(multi_resource=False) as provider:
        token = refresh_token_of(provider.login(audience=API, scope="openid offline_access read:things"))
        own = provider.refresh(token, audience=API)

        assert granted_for(provider, own) == (API, "openid offline_access read:things")
        assert outcome(provider.refresh(replacement(own), audience=OTHER_API)) == (400, "invalid_target")
        assert provider.refresh(replacement(own)).status_code == 200


@pytest.mark.parametrize(("scope", "granted"), [("read:things", "read:things"), ("write:things", None)])
def test_another_api_may_be_ignored(forgetful: OpenIDProvider, scope: str, granted: str | None) -> None:
    token = refresh_token_of(forgetful.login(audience=API, scope="openid offline_access read:things"))

    first = forgetful.refresh(token, audience=OTHER_API, scope=scope)
    second = forgetful.refresh(replacement(first), audience=forgetful.management_audience)

    assert granted_for(forgetful, first) == (API, granted or "openid offline_access read:things")
    assert granted_for(forgetful, second) == (API, "openid offline_access read:things")


def test_log_and_faults_distinguish_audiences(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(audience=API, scope="openid offline_access"))
    provider.fault("status", status=403, body={"error": "access_denied"}, audience=OTHER_API)

    mine = provider.refresh(token)
    other = provider.refresh(replacement(mine), audience=OTHER_API)
    again = provider.refresh(replacement(mine), audience=OTHER_API)

    assert [response.status_code for response in (mine, other, again)] == [200, 403, 200]
    refreshes = provider.requests(grant_type="refresh_token")
    assert [(request.method, request.audience) for request in refreshes] == [
        ("POST", None),
        ("POST", OTHER_API),
        ("POST", OTHER_API),
    ]


def test_a_refresh_at_the_plain_flavor_names_one_of_the_logins_resources(plain: OpenIDProvider) -> None:
    tokens = plain.login(resources=[API, OTHER_API], scope="openid offline_access read:things write:things")
    token = refresh_token_of(tokens)

    responses = [plain.refresh(token, resource=API), plain.refresh(token, resource=OTHER_API, scope="read:things")]

    assert [granted_for(plain, response) for response in responses] == [
        (API, "read:things write:things"),
        (OTHER_API, "read:things"),
    ]
    assert granted_for(plain, plain.refresh(token)) == (None, "openid offline_access")
    assert outcome(plain.refresh(token, resource="https://third.example")) == (400, "invalid_target")


def test_a_refused_resource_at_the_plain_flavor_ends_the_session() -> None:
    with OpenIDProvider(flavor="plain") as rotating:
        token = refresh_token_of(rotating.login(resources=[API], scope="openid offline_access"))

        assert outcome(rotating.refresh(token, resource=OTHER_API)) == (400, "invalid_target")
        assert outcome(rotating.refresh(token, resource=API)) == (400, "invalid_grant")  # it was replaced all the same


@pytest.mark.parametrize("flavor", ["running", "plain"])
def test_a_refresh_may_request_fewer_scopes(flavor: str, request: pytest.FixtureRequest) -> None:
    provider: OpenIDProvider = request.getfixturevalue(flavor)
    token = refresh_token_of(provider.login(scope="openid profile offline_access"))

    fewer = provider.refresh(token, scope="openid")
    more = provider.refresh(replacement(fewer), scope="openid email")

    assert granted_for(provider, fewer) == (None, "openid")
    assert outcome(more) == (400, "invalid_scope")
    whole = provider.refresh(replacement(fewer))  # neither a smaller token nor a refusal has cost anything
    assert granted_for(provider, whole) == (None, "openid profile offline_access")


# The Management API


@pytest.fixture(scope="module")
def long_lived() -> Iterator[OpenIDProvider]:
    with OpenIDProvider(access_token_lifetime=600) as provider:
        yield provider


@pytest.fixture
def steady(long_lived: OpenIDProvider) -> OpenIDProvider:
    """Its access tokens outlast a test, however slow that is."""
    long_lived.reset()
    return long_lived


def login_for_management(provider: OpenIDProvider, user: str = "auth0|alice", scope: str = MANAGEMENT_SCOPE) -> Tokens:
    return provider.login(user, audience=provider.management_audience, scope=f"openid offline_access {scope}")


def complaint(response: httpx.Response) -> tuple[int, str | None]:
    """An error of the Management API, which has a form of its own."""
    body = response.json()
    assert body.keys() >= {"statusCode", "error", "message"}
    assert body["statusCode"] == response.status_code
    return response.status_code, body.get("errorCode")


def test_a_user_reads_everything_about_themselves(steady: OpenIDProvider) -> None:
    token = login_for_management(steady, "auth0|bob").access_token

    response = steady.read_user(token, "auth0|bob")

    assert claims_of(token)["aud"] == [steady.issuer + "api/v2/", steady.url + "/userinfo"]
    user = response.raise_for_status().json()
    assert user == steady.user("auth0|bob")
    assert user.keys() == {
        *("user_id", "name", "nickname", "picture", "email", "email_verified", "created_at", "updated_at"),
        *("identities", "last_login", "last_ip", "logins_count"),
    }
    assert user["identities"] == [
        {
            "connection": "Username-Password-Authentication",
            "provider": "auth0",
            "user_id": "bob",
            "isSocial": False,
        }
    ]


def test_a_login_is_counted_and_a_refresh_is_not(steady: OpenIDProvider) -> None:
    first = steady.login("auth0|carol")
    steady.refresh(refresh_token_of(first)).raise_for_status()
    steady.login("auth0|carol")

    user = steady.user("auth0|carol")

    assert user is not None
    assert user["logins_count"] == 2


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"fields": "user_metadata"}, {"user_metadata"}),
        ({"fields": "email,app_metadata", "include_fields": "true"}, {"email", "app_metadata"}),
        ({"fields": "nothing"}, set[str]()),
    ],
)
def test_a_user_reads_some_fields(steady: OpenIDProvider, query: dict[str, str], fields: set[str]) -> None:
    steady.change_user("auth0|alice", user_metadata={"country": "Canada"}, app_metadata={"plan": "gold"})
    token = login_for_management(steady).access_token

    assert steady.read_user(token, **query).json().keys() == fields


def test_a_user_leaves_some_fields_out(steady: OpenIDProvider) -> None:
    token = login_for_management(steady).access_token
    everything = steady.read_user(token).json()

    rest = steady.read_user(token, fields="identities,email", include_fields="false").json()

    assert rest == {key: value for key, value in everything.items() if key not in ("identities", "email")}


def test_metadata_is_merged_at_the_first_level(steady: OpenIDProvider) -> None:
    token = login_for_management(steady).access_token
    changes: list[dict[str, object]] = [
        {"country": "Canada", "address": {"city": "Oslo", "zip": "0150"}, "active": True, "height": 1.5, "tags": [1]},
        {"address": {"city": "Bergen"}, "country": None, "born": None},
    ]

    first, second = (steady.patch_user(token, {"user_metadata": change}) for change in changes)

    assert first.raise_for_status().json()["user_metadata"] == changes[0]
    after = second.raise_for_status().json()
    assert after["user_metadata"] == {"address": {"city": "Bergen"}, "active": True, "height": 1.5, "tags": [1]}
    assert after == steady.user("auth0|alice") == steady.read_user(token).json()


def test_empty_metadata_removes_all_metadata(steady: OpenIDProvider) -> None:
    steady.change_user("auth0|alice", user_metadata={"country": "Canada"}, app_metadata={"plan": "gold"})
    token = login_for_management(steady).access_token

    response = steady.patch_user(token, {"user_metadata": {}}).json()

    assert "user_metadata" not in response
    assert response["app_metadata"] == {"plan": "gold"}


def test_the_management_api_needs_a_token_for_itself(steady: OpenIDProvider) -> None:
    tokens = steady.login(audience=API, scope="openid offline_access read:things")
    opaque = steady.login().access_token
    assert tokens.id_token is not None
    head, payload, _ = login_for_management(steady).access_token.split(".")
    with httpx.Client(base_url=steady.url, trust_env=False) as client:
        none = client.get(steady.user_path("auth0|alice"))

    assert complaint(none) == (401, None)
    assert complaint(steady.read_user(tokens.access_token)) == (401, None)
    assert complaint(steady.read_user(tokens.id_token)) == (401, None)
    assert complaint(steady.read_user(f"{head}.{payload}.{'A' * 342}")) == (401, None)
    assert complaint(steady.read_user(opaque)) == (400, "Bearer")  # it looks at the shape first


def test_the_management_api_refuses_a_token_that_has_expired(lenient: OpenIDProvider) -> None:
    token = login_for_management(lenient).access_token

    wait_until(lambda: lenient.read_user(token).status_code == 401)


@pytest.mark.parametrize("scope", MANAGEMENT_SCOPE.split())
def test_each_call_needs_its_own_scope(steady: OpenIDProvider, scope: str) -> None:
    token = login_for_management(steady, scope=scope).access_token

    responses = {
        "read:current_user": steady.read_user(token),
        "update:current_user_metadata": steady.patch_user(token, {"user_metadata": {"country": "Canada"}}),
    }

    assert responses.pop(scope).status_code == 200
    [refusal] = responses.values()
    assert complaint(refusal) == (403, "insufficient_scope")


def test_a_user_can_not_read_or_change_another_user(steady: OpenIDProvider) -> None:
    token = login_for_management(steady, "auth0|alice").access_token

    read = steady.read_user(token, "auth0|bob")
    changed = steady.patch_user(token, {"user_metadata": {"country": "Canada"}}, "auth0|bob")

    assert [complaint(response) for response in (read, changed)] == [(403, "insufficient_scope")] * 2
    assert "user_metadata" not in (steady.user("auth0|bob") or {})


def test_a_removed_user_is_gone_everywhere(steady: OpenIDProvider) -> None:
    tokens = login_for_management(steady, "auth0|dave")
    opaque = steady.login("auth0|dave").access_token

    steady.remove_user("auth0|dave")

    assert complaint(steady.read_user(tokens.access_token, "auth0|dave")) == (404, "inexistent_user")
    assert [steady.userinfo(token).status_code for token in (tokens.access_token, opaque)] == [401, 401]
    assert outcome(steady.refresh(refresh_token_of(tokens))) == (403, "invalid_grant")
    assert steady.user("auth0|dave") is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user_metadata": None}, (400, "invalid_body")),
        ({"user_metadata": ["Canada"]}, (400, "invalid_body")),
        ({}, (400, "invalid_body")),
        ([], (400, "invalid_body")),
        ({"user_metadata": {}, "email": "other@example.invalid"}, (403, "insufficient_scope")),
    ],
)
def test_an_invalid_change_of_a_user_is_refused(
    steady: OpenIDProvider, body: object, expected: tuple[int, str | None]
) -> None:
    steady.change_user("auth0|alice", user_metadata={"country": "Canada"})
    token = login_for_management(steady).access_token

    assert complaint(steady.patch_user(token, body)) == expected
    assert steady.read_user(token, fields="user_metadata").json() == {"user_metadata": {"country": "Canada"}}


def test_a_patch_whose_response_is_lost_has_changed_the_user(steady: OpenIDProvider) -> None:
    token = login_for_management(steady).access_token
    path = steady.user_path("auth0|alice")
    steady.fault("drop-after", route=path, method="PATCH")

    assert steady.read_user(token).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        steady.patch_user(token, {"user_metadata": {"country": "Canada"}})

    assert steady.read_user(token, fields="user_metadata").json() == {"user_metadata": {"country": "Canada"}}
    assert [(line.method, line.status) for line in steady.requests(path)] == [
        ("GET", 200),
        ("PATCH", None),
        ("GET", 200),
    ]


def test_the_management_api_may_be_rate_limited() -> None:
    with OpenIDProvider(management_limit=(2, 1), access_token_lifetime=600) as limited:
        alice, bob = (login_for_management(limited, user).access_token for user in ("auth0|alice", "auth0|bob"))
        responses = [limited.read_user(alice) for _ in range(3)]
        other = limited.read_user(bob, "auth0|bob")
        limited.reset()
        afterwards = limited.read_user(alice)

    assert [response.status_code for response in (*responses, other, afterwards)] == [200, 200, 429, 200, 200]
    assert complaint(responses[2]) == (429, "too_many_requests")
    assert [response.headers["x-ratelimit-remaining"] for response in responses] == ["1", "0", "0"]
    assert responses[2].headers["x-ratelimit-limit"] == "2"
    assert int(responses[2].headers["x-ratelimit-reset"]) == pytest.approx(time.time() + 60, abs=61)
    assert 1 <= int(responses[2].headers["retry-after"]) <= 60


def test_a_login_for_the_management_api_may_get_no_refresh_token(forgetful: OpenIDProvider) -> None:
    tokens = login_for_management(forgetful)

    assert tokens.refresh_token is None
    assert forgetful.read_user(tokens.access_token).status_code == 200
    assert forgetful.login(audience=API, scope="openid offline_access").refresh_token is not None


def test_the_management_api_may_be_called_by_the_tenants_domain() -> None:
    with OpenIDProvider(management_audience="https://tenant.example/api/v2/", access_token_lifetime=600) as custom:
        token = login_for_management(custom).access_token
        its_own = custom.login(audience=f"{custom.issuer}api/v2/", scope="openid").access_token

        assert claims_of(token)["aud"][0] == custom.management_audience == "https://tenant.example/api/v2/"
        assert custom.read_user(token).status_code == 200  # where the issuer is, as Auth0 wants it
        assert complaint(custom.read_user(its_own)) == (401, None)


def test_the_plain_flavor_has_no_management_api(plain: OpenIDProvider) -> None:
    with httpx.Client(base_url=plain.url, trust_env=False) as client:
        assert client.get("/api/v2/users/auth0%7Calice").status_code == 404
    with pytest.raises(ProviderError, match="auth0"):
        _ = plain.management_audience


# Profiles


def test_custom_claims_are_in_userinfo_and_id_token(steady: OpenIDProvider) -> None:
    custom = {"https://acme.example/roles": ["admin"], "given_name": "Alice", "name": "Alice Example", "picture": None}
    steady.change_user("auth0|alice", claims=custom)
    opaque, jwt_token = steady.login(), steady.login(audience=API)
    assert opaque.id_token is not None

    profiles = [
        steady.userinfo(opaque.access_token).json(),
        steady.userinfo(jwt_token.access_token).json(),
        claims_of(opaque.id_token),
    ]

    for profile in profiles:
        assert {name: profile.get(name) for name in custom} == custom
    assert profiles[0] == profiles[1] == steady.claims("auth0|alice")
    assert steady.user("auth0|alice") == {
        **(steady.user("auth0|alice") or {}),
        "given_name": "Alice",
        "name": "Alice Example",
    }
    assert "https://acme.example/roles" not in (steady.user("auth0|alice") or {})


def test_attributes_of_a_user_can_be_set(steady: OpenIDProvider) -> None:
    steady.change_user("auth0|alice", identities=[], blocked=True, last_ip=None)

    user = steady.user("auth0|alice") or {}

    assert (user["identities"], user["blocked"], "last_ip" in user) == ([], True, False)
    steady.reset()
    assert "blocked" not in (steady.user("auth0|alice") or {})


@pytest.mark.parametrize("audience", [None, API])
def test_userinfo_returns_the_claims_of_the_scopes(steady: OpenIDProvider, audience: str | None) -> None:
    token = steady.login(audience=audience, scope="openid email").access_token

    assert steady.userinfo(token).json().keys() == {"sub", "email", "email_verified"}


def test_updated_at_is_a_string_only_at_auth0(steady: OpenIDProvider, plain: OpenIDProvider) -> None:
    text, number = (each.userinfo(each.login().access_token).json()["updated_at"] for each in (steady, plain))

    assert datetime.fromisoformat(text).timestamp() == pytest.approx(time.time(), abs=600)
    assert number == pytest.approx(time.time(), abs=600)


@pytest.mark.parametrize("audience", [None, API])
def test_merge_changes_the_user_of_userinfo(steady: OpenIDProvider, audience: str | None) -> None:
    token = steady.login(audience=audience).access_token
    steady.fault("merge", route="/userinfo", set={"sub": "auth0|mallory"}, unset=["email"])

    response = steady.userinfo(token)

    assert response.status_code == 200
    assert response.json() == {
        name: "auth0|mallory" if name == "sub" else value
        for name, value in (steady.claims("auth0|alice") or {}).items()
        if name != "email"
    }


def test_userinfo_is_rate_limited_as_at_auth0() -> None:
    burst, _ = AUTH0_USERINFO_LIMIT
    with OpenIDProvider(userinfo_limit=(burst, 1), access_token_lifetime=600) as limited:
        opaque, jwt_token = limited.login().access_token, limited.login(audience=API).access_token
        strangers = [limited.userinfo("nonsense") for _ in range(12)]
        responses = [limited.userinfo(token) for token in [opaque, jwt_token] * 5]
        refusals = [limited.userinfo(opaque), limited.userinfo(jwt_token)]
        other = limited.userinfo(limited.login("auth0|bob").access_token)
        assert limited.count("/userinfo") == 25

    assert {stranger.status_code for stranger in strangers} == {401}
    assert [response.status_code for response in (*responses, *refusals, other)] == [200] * 10 + [429, 429, 200]
    assert [int(response.headers["x-ratelimit-remaining"]) for response in responses] == [*range(9, -1, -1)]
    assert {response.headers["x-ratelimit-limit"] for response in (*responses, *refusals)} == {"10"}
    assert 1 <= int(refusals[0].headers["retry-after"]) <= 60


def test_a_rate_limit_allows_the_next_request_in_time() -> None:
    with OpenIDProvider(flavor="plain", userinfo_limit=(1, 20), access_token_lifetime=600) as limited:
        token = limited.login().access_token
        wait_until(lambda: limited.userinfo(token).status_code == 429)
        wait_until(lambda: limited.userinfo(token).status_code == 200)


# The end of a session


def test_merge_sets_the_end_of_the_session(provider: OpenIDProvider) -> None:
    ends_at = int(time.time()) + 3600
    provider.fault("merge", times=None, set={"refresh_token_expires_in": 3600}, claims={"session_expiry": ends_at})

    tokens = provider.login()
    refreshed = provider.refresh(refresh_token_of(tokens)).json()

    assert tokens.id_token is not None
    id_tokens = [tokens.id_token, refreshed["id_token"]]
    assert [verified(provider, token)["session_expiry"] for token in id_tokens] == [ends_at, ends_at]
    assert refreshed["refresh_token_expires_in"] == 3600


def test_the_logins_of_one_browser_share_a_grant_and_those_of_two_do_not(provider: OpenIDProvider) -> None:
    with provider.browser() as browser:
        first, second = (provider.login(browser=browser).refresh_token for _ in range(2))
        browser.log_out(provider.end_session_url(client_id="native-app"))
        bobs = provider.login("auth0|bob", browser=browser).refresh_token
    elsewhere = provider.login().refresh_token
    assert None not in (first, second, bobs, elsewhere)
    assert provider.revoke(str(first)).status_code == 200
    assert [provider.refresh(str(one)).status_code for one in (second, bobs, elsewhere)] == [403, 200, 200]


def test_a_browser_stays_logged_in(provider: OpenIDProvider) -> None:
    with provider.browser() as browser:
        before = browser.is_logged_in()
        browser.visit(authorization_url(provider, "http://127.0.0.1:9/callback"), "auth0|bob")
        assert (before, browser.is_logged_in()) == (False, True)


@pytest.mark.parametrize("flavor", ["running", "plain"])
@pytest.mark.parametrize("hint", ["hint", "client_id"])
def test_a_logout_ends_the_browsers_session(flavor: str, hint: str, request: pytest.FixtureRequest) -> None:
    provider: OpenIDProvider = request.getfixturevalue(flavor)
    tokens = provider.login()
    assert tokens.id_token is not None
    who = {"id_token_hint": tokens.id_token} if hint == "hint" else {"client_id": "native-app"}
    back = "http://127.0.0.1:9/loggedout"
    with provider.browser() as browser:
        browser.visit(authorization_url(provider, "http://127.0.0.1:9/callback"))

        end = browser.log_out(provider.end_session_url(**who, post_logout_redirect_uri=back, state="some-state"))

        assert end == f"{back}?state=some-state"
        assert not browser.is_logged_in()
        assert browser.log_out(provider.end_session_url(**who)).startswith(provider.url)  # there is nothing to end
    assert provider.refresh(refresh_token_of(tokens)).status_code == 200  # another thing than revocation


def test_an_id_token_hint_skips_the_confirmation_at_auth0(provider: OpenIDProvider) -> None:
    id_token = provider.login().id_token
    assert id_token is not None
    with provider.browser() as browser:
        browser.visit(authorization_url(provider, "http://127.0.0.1:9/callback"))
        asks, goes_on = (
            browser.open(provider.end_session_url(**who)).text
            for who in ({"client_id": "native-app"}, {"id_token_hint": id_token})
        )

    assert "submit()" not in asks
    assert "submit()" in goes_on


def test_a_logout_does_not_redirect_to_an_unknown_url(provider: OpenIDProvider) -> None:
    strange = "https://elsewhere.example/"
    with provider.browser() as browser:
        browser.visit(authorization_url(provider, "http://127.0.0.1:9/callback"))
        with pytest.raises(LoginError, match="400"):
            browser.log_out(provider.end_session_url(client_id="native-app", post_logout_redirect_uri=strange))
        with pytest.raises(LoginError, match="400"):
            browser.log_out(provider.logout_url(client_id="native-app", returnTo=strange))
        with pytest.raises(LoginError, match="400"):
            browser.log_out(provider.logout_url(client_id="nobody"))
        assert browser.is_logged_in()


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({"returnTo": "http://127.0.0.1:9/loggedout"}, "http://127.0.0.1:9/loggedout"),
        ({}, "http://127.0.0.1/loggedout"),
    ],
)
def test_the_older_logout_needs_no_confirmation(provider: OpenIDProvider, more: dict[str, str], end: str) -> None:
    with provider.browser() as browser:
        browser.visit(authorization_url(provider, "http://127.0.0.1:9/callback"))

        assert browser.log_out(provider.logout_url(client_id="native-app", **more)) == end
        assert not browser.is_logged_in()


def test_the_metadata_may_have_no_end_session_endpoint(provider: OpenIDProvider) -> None:
    document = "/.well-known/openid-configuration"
    provider.fault("merge", route=document, unset=["end_session_endpoint"])
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        without, named = (client.get(document).json().get("end_session_endpoint") for _ in range(2))

    assert (without, named) == (None, provider.url + provider.paths["end_session"])


def test_a_revoked_refresh_token_can_not_be_used(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())

    assert provider.revoke(token).status_code == 200
    assert outcome(provider.refresh(token)) == (403, "invalid_grant")


# Faults


def test_status_responds_in_place_of_the_provider(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("status", status=429, headers={"Retry-After": "7"}, body={"error": "too_many_requests"})

    response = provider.refresh(token)

    assert outcome(response) == (429, "too_many_requests")
    assert response.headers["retry-after"] == "7"
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert provider.refresh(token).status_code == 200


def test_a_body_that_is_a_string_is_sent_unchanged(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, body="down for maintenance")

    response = provider.refresh("any")

    assert (response.status_code, response.text) == (503, "down for maintenance")


def test_a_fault_happens_as_often_as_ordered(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, times=2)

    assert [provider.refresh("any").status_code for _ in range(3)] == [503, 503, 403]


def test_a_fault_without_times_lasts_until_it_is_cleared(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, times=None)

    assert [provider.refresh("any").status_code for _ in range(3)] == [503, 503, 503]
    provider.clear_faults()
    assert provider.refresh("any").status_code == 403


def test_a_fault_can_be_for_one_client(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, client_id="second-app", times=None)

    assert provider.refresh("any", client_id="native-app").status_code == 403
    assert provider.refresh("any", client_id="second-app").status_code == 503


def test_a_fault_can_be_for_one_grant_type(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, grant_type="refresh_token", times=None)

    token = refresh_token_of(provider.login())  # the code exchange goes to the same path

    assert provider.refresh(token).status_code == 503


def test_a_fault_can_be_for_any_path(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, route=None, times=2)

    assert provider.userinfo("any").status_code == 503
    assert provider.refresh("any").status_code == 503


def test_a_fault_can_be_for_another_path(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, route="/userinfo")

    assert provider.refresh("any").status_code == 403
    assert provider.userinfo("any").status_code == 503


def test_faults_that_happened_are_listed_by_mode(provider: OpenIDProvider) -> None:
    provider.fault("status", status=503, times=2)
    provider.fault("garbage", times=None)

    for _ in range(5):
        provider.refresh("any")

    assert provider.happened() == {"status 503": 2, "garbage": 3}
    provider.clear_faults()
    assert provider.happened() == {"status 503": 2, "garbage": 3}
    provider.reset()
    assert provider.happened() == {}


def test_an_unknown_fault_is_refused(provider: OpenIDProvider) -> None:
    unknown: Any = "constructor"
    with pytest.raises(httpx.HTTPStatusError):
        provider.fault(unknown)


def test_delay_holds_the_request_before_the_rotation(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("delay", ms=FOREVER_MS)

    with pytest.raises(httpx.ReadTimeout):
        refresh_impatiently(provider, token)

    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert provider.refresh(token).status_code == 200


def test_delay_lets_the_request_go_on_in_time(provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=200)

    tokens = provider.login()

    assert provider.requests(grant_type="authorization_code")[0].status == 200
    assert provider.userinfo(tokens.access_token).status_code == 200


@pytest.mark.parametrize("mode", ["delay", "delay-after"])
def test_what_is_held_can_be_released(provider: OpenIDProvider, mode: FaultMode) -> None:
    tokens = [refresh_token_of(provider.login()) for _ in range(2)]
    provider.fault(mode, ms=FOREVER_MS, times=2)

    with ThreadPoolExecutor() as clients:
        responses = [clients.submit(provider.refresh, token) for token in tokens]
        wait_until(lambda: len(provider.requests(grant_type="refresh_token")) == 2)
        provider.release()

        assert [response.result().status_code for response in responses] == [200, 200]


def test_drop_before_leaves_the_token_unused(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("drop-before")

    with pytest.raises(httpx.RemoteProtocolError):
        provider.refresh(token)

    assert provider.requests(grant_type="refresh_token")[0].status is None
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert provider.refresh(token).status_code == 200


@pytest.mark.parametrize("mode", ["drop-after", "half"])
def test_a_lost_response_has_rotated_the_token(provider: OpenIDProvider, mode: FaultMode) -> None:
    token = refresh_token_of(provider.login())
    provider.fault(mode)

    with pytest.raises(httpx.RemoteProtocolError):
        provider.refresh(token)

    assert provider.requests(grant_type="refresh_token")[0].status is None
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert outcome(provider.refresh(token)) == (403, "invalid_grant")


def test_half_announces_the_whole_body_and_sends_half(provider: OpenIDProvider) -> None:
    tokens = provider.login()
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    whole = provider.userinfo(tokens.access_token).content
    provider.fault("half", route="/userinfo")

    received = b""
    with (
        httpx.Client(base_url=provider.url, trust_env=False) as client,
        client.stream("GET", "/userinfo", headers=headers) as response,
    ):
        chunks = response.iter_raw()
        while len(received) < len(whole) // 2:
            received += next(chunks)
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)

    assert int(response.headers["content-length"]) == len(whole)
    assert received == whole[: len(whole) // 2]


def test_delay_after_delays_the_response_after_the_rotation(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("delay-after", ms=FOREVER_MS)

    with pytest.raises(httpx.ReadTimeout):
        refresh_impatiently(provider, token)

    assert outcome(provider.refresh(token)) == (403, "invalid_grant")
    assert provider.ledger() == {fingerprint(token): Presented(2, 0)}


def test_a_delayed_response_to_a_client_that_has_gone_does_not_count_as_success(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("delay-after", ms=int(IMPATIENCE * 1000) + 100)
    with pytest.raises(httpx.ReadTimeout):
        refresh_impatiently(provider, token)

    provider.fault("delay-after", ms=300)  # outlasts the response that is still held
    provider.refresh("any")

    assert provider.ledger()[fingerprint(token)] == Presented(1, 0)


def test_delay_after_sends_the_response_in_the_end(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("delay-after", ms=200)
    start = time.monotonic()

    second = replacement(provider.refresh(token))

    assert time.monotonic() - start >= 0.19
    assert provider.refresh(second).status_code == 200


def test_garbage_is_not_json_and_does_not_count_as_success(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("garbage")

    response = provider.refresh(token)

    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert provider.refresh(token).status_code == 200


def test_drip_sends_the_response_a_byte_at_a_time(provider: OpenIDProvider) -> None:
    tokens = provider.login()
    provider.fault("drip", route="/userinfo", ms=1)
    start = time.monotonic()

    response = provider.userinfo(tokens.access_token)

    assert response.json()["sub"] == "auth0|alice"
    assert time.monotonic() - start >= len(response.content) * 0.001


def test_a_dripping_refresh_succeeds_when_its_last_byte_is_sent(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login(scope="openid offline_access"))
    provider.fault("drip", ms=FOREVER_MS)
    with pytest.raises(httpx.ReadTimeout):
        refresh_impatiently(provider, token)
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}

    token = refresh_token_of(provider.login(scope="openid offline_access"))
    provider.fault("drip", ms=0)
    assert provider.refresh(token).status_code == 200
    assert provider.ledger()[fingerprint(token)] == Presented(1, 1)


def test_huge_continues_until_the_client_disconnects(provider: OpenIDProvider) -> None:
    provider.fault("huge")
    received = 0
    with (
        httpx.Client(base_url=provider.url, trust_env=False) as client,
        client.stream("POST", provider.token_path, data={"grant_type": "refresh_token"}) as response,
    ):
        for chunk in response.iter_raw():
            received += len(chunk)
            if received > 4 << 20:
                break

    assert response.status_code == 200
    assert received > 4 << 20
    assert provider.requests(provider.token_path)[0].status is None


def test_huge_has_an_end(provider: OpenIDProvider) -> None:
    provider.fault("huge")

    assert 64 << 20 <= len(provider.refresh("any").content) <= (64 << 20) + 1024


def test_merge_changes_the_response_after_the_rotation(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("merge", set={"expires_in": "soon", "extra": [1]}, unset=["id_token", "scope"])

    response = provider.refresh(token)

    assert response.status_code == 200
    body = response.json()
    assert (body["expires_in"], body["extra"]) == ("soon", [1])
    assert body.keys() & {"id_token", "scope"} == set()
    assert provider.ledger() == {fingerprint(token): Presented(1, 1)}
    assert provider.refresh(body["refresh_token"]).status_code == 200


def test_merge_may_change_the_status(provider: OpenIDProvider) -> None:
    token = refresh_token_of(provider.login())
    provider.fault("merge", status=500)

    assert provider.refresh(token).status_code == 500
    assert provider.ledger() == {fingerprint(token): Presented(1, 0)}
    assert outcome(provider.refresh(token)) == (403, "invalid_grant")


def test_merge_may_change_claims_under_the_providers_signature(provider: OpenIDProvider) -> None:
    changes = {"iss": "https://elsewhere.example/", "at_hash": None}
    provider.fault("merge", grant_type="authorization_code", claims=changes)

    tokens = provider.login("auth0|bob")

    assert tokens.id_token is not None
    claims = verified(provider, tokens.id_token)
    assert (claims["iss"], claims["sub"]) == ("https://elsewhere.example/", "auth0|bob")
    assert "at_hash" not in claims
    assert "nonce" in claims


# Forgeries


def verified(provider: OpenIDProvider, token: str) -> dict[str, Any]:
    keys = KeySet([RSAKey.import_key(key) for key in provider.jwks()["keys"]])
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


@pytest.fixture
def id_token(provider: OpenIDProvider) -> str:
    token = provider.login().id_token
    assert token is not None
    return token


def test_the_signature_of_a_real_token_is_valid(provider: OpenIDProvider, id_token: str) -> None:
    assert verified(provider, id_token) == forge.claims_of(id_token)


@pytest.mark.parametrize("make", [forge.by_another_key, forge.altered])
def test_a_forged_signature_does_not_verify(
    provider: OpenIDProvider, id_token: str, make: Callable[[str, forge.Claims], str]
) -> None:
    forged = make(id_token, {"nonce": "another", "at_hash": None})

    assert forged.partition(".")[0] == id_token.partition(".")[0]
    with pytest.raises(BadSignatureError):
        verified(provider, forged)
    expected = forge.claims_of(id_token) | {"nonce": "another"}
    expected.pop("at_hash", None)
    assert forge.claims_of(forged) == expected


def test_an_unsigned_token_has_alg_none_and_no_signature(id_token: str) -> None:
    head, _, signature = forge.unsigned(id_token).split(".")

    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "none"}
    assert signature == ""


def test_a_token_keyed_by_the_public_key_uses_it_as_an_hmac_secret(provider: OpenIDProvider, id_token: str) -> None:
    forged = forge.keyed_by_public_key(id_token, provider.jwks())

    pem = RSAKey.import_key(provider.jwks()["keys"][0]).as_pem(private=False)
    signing_input, _, signature = forged.rpartition(".")
    assert base64.urlsafe_b64decode(signature + "==") == hmac.digest(pem, signing_input.encode(), "sha256")
    assert forge.claims_of(forged) == forge.claims_of(id_token)
    assert json.loads(base64.urlsafe_b64decode(forged.split(".")[0] + "=="))["alg"] == "HS256"


def test_a_forgery_has_the_nonce_of_its_login(provider: OpenIDProvider, id_token: str) -> None:
    url = authorization_url(provider, "http://127.0.0.1:9/callback", nonce="theirs")

    forged = forge.unsigned(id_token, forge.for_login(url) | {"sub": "auth0|mallory"})

    claims = forge.claims_of(forged)
    assert (claims["nonce"], claims["sub"]) == ("theirs", "auth0|mallory")
    assert "at_hash" not in claims


# Start and end


def test_tls_uses_the_certificate_of_the_options(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")}
    authority.cert_pem.write_to_path(files["ca.pem"])
    certificate.private_key_pem.write_to_path(files["key.pem"])
    certificate.cert_chain_pems[0].write_to_path(files["cert.pem"])

    with OpenIDProvider(tls=(files["cert.pem"], files["key.pem"]), ca=files["ca.pem"]) as provider:
        tokens = provider.login()
        assert provider.issuer.startswith("https://127.0.0.1:")
        assert provider.userinfo(tokens.access_token).json()["sub"] == "auth0|alice"
        assert provider.refresh(refresh_token_of(tokens)).status_code == 200
        with (
            httpx.Client(trust_env=False) as stranger,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            stranger.get(provider.url)


def test_the_error_of_a_failed_start_has_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"

    with pytest.raises(ProviderError, match=r"missing\.pem"), OpenIDProvider(tls=(missing, missing)):
        pass


def test_a_provider_that_is_not_running_is_an_error() -> None:
    with pytest.raises(ProviderError, match="not running"):
        _ = OpenIDProvider().issuer


def test_a_provider_closes_its_port_when_it_ends() -> None:
    with OpenIDProvider() as provider:
        url = provider.url
        provider.fault("delay", ms=FOREVER_MS)
        with pytest.raises(httpx.ReadTimeout):
            refresh_impatiently(provider, "any")

    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(url)


def close_stdin(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()


def terminate(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)


def interrupt(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [close_stdin, terminate, interrupt])
def test_a_provider_exits_with_0_when_it_is_ended(end: Callable[["subprocess.Popen[bytes]"], None]) -> None:
    command = [*node_command(), str(SERVER)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert b"issuer" in process.stdout.readline()
        end(process)
        assert process.wait(60) == 0
