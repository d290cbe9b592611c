"""Client authentication."""

import base64

import pytest

from auth_agent.oauth.client import BASIC, POST, Client
from auth_agent.secret import Secret

FORM = {"grant_type": "refresh_token"}


def test_a_public_client_sends_its_client_id_only() -> None:
    assert Client("app").authenticate(FORM, (BASIC, POST)) == ({}, {**FORM, "client_id": "app"})


def test_a_secret_is_not_sent_with_the_method_none() -> None:
    assert Client("app", Secret("s"), "none").authenticate(FORM, None) == ({}, {**FORM, "client_id": "app"})


@pytest.mark.parametrize("supported", [None, (), (BASIC,), (BASIC, POST), ("private_key_jwt",)])
def test_a_secret_is_sent_by_basic_unless_the_provider_supports_only_post(
    supported: tuple[str, ...] | None,
) -> None:
    headers, form = Client("app", Secret("s")).authenticate(FORM, supported)
    assert headers == {"authorization": f"Basic {base64.b64encode(b'app:s').decode()}"}
    assert form == FORM


def test_a_secret_is_sent_in_the_form_if_the_provider_supports_only_post() -> None:
    headers, form = Client("app", Secret("s")).authenticate(FORM, (POST, "none"))
    assert headers == {}
    assert form == {**FORM, "client_id": "app", "client_secret": "s"}


@pytest.mark.parametrize(("method", "by_header"), [(BASIC, True), (POST, False)])
def test_the_configured_method_precedes_the_providers(method: str, *, by_header: bool) -> None:
    for supported in (None, (BASIC,), (POST,)):
        headers, form = Client("app", Secret("s"), method).authenticate(FORM, supported)
        assert bool(headers) is by_header
        assert ("client_secret" in form) is not by_header


@pytest.mark.parametrize(
    ("client", "supported", "methods"),
    [
        (Client("app", Secret("s")), (POST, BASIC), (BASIC, POST)),
        (Client("app", Secret("s")), None, (BASIC, POST)),
        (Client("app", Secret("s")), (POST,), (POST,)),
        (Client("app", Secret("s")), ("private_key_jwt",), (BASIC,)),
        (Client("app", Secret("s"), POST), (POST, BASIC), (POST,)),
        (Client("app"), (POST, BASIC), ("none",)),
    ],
)
def test_a_login_tries_what_is_offered_unless_the_account_says(
    client: Client, supported: tuple[str, ...] | None, methods: tuple[str, ...]
) -> None:
    assert client.methods(supported) == methods


def test_id_and_secret_are_form_encoded_for_basic() -> None:
    headers, _ = Client("a:b", Secret("p w+%é")).authenticate(FORM, None)
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"a%3Ab:p+w%2B%25%C3%A9"


def test_the_given_form_is_not_changed() -> None:
    form = dict(FORM)
    for client in (Client("app"), Client("app", Secret("s")), Client("app", Secret("s"), POST)):
        client.authenticate(form, None)
    assert form == FORM


def test_the_repr_of_a_client_contains_no_secret() -> None:
    assert "hush" not in repr(Client("app", Secret("hush")))
