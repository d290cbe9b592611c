"""How requests name the API that a token is for."""

import pytest

from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.resource import AUDIENCE, BOTH, RESOURCE, api_parameters, omissions, overrides_of_api

API = "https://api.example"


def metadata(issuer: str, authorize: str, token: str) -> Metadata:
    return Metadata(issuer, f"{issuer}{token}", authorization_endpoint=f"{issuer}{authorize}")


def test_auth0_has_the_parameter_audience_and_an_unknown_provider_may_have_either() -> None:
    assert metadata("https://acme.eu.auth0.com", "/authorize", "/oauth/token").api_parameters == (AUDIENCE,)
    assert metadata("https://acme.example", "/auth", "/token").api_parameters == BOTH


@pytest.mark.parametrize("names", [(AUDIENCE,), (RESOURCE,), BOTH, ()])
def test_the_api_is_in_each_of_the_names(names: tuple[str, ...]) -> None:
    assert api_parameters(names, API) == dict.fromkeys(names, API)
    assert api_parameters(names, None) == {}
    assert api_parameters(names, "") == {}


@pytest.mark.parametrize("api", ["urn:example:api", "api://0a1b", "https://api.example/v1?x=1", "https://[::1]/"])
def test_an_absolute_uri_can_be_a_resource(api: str) -> None:
    assert api_parameters(BOTH, api) == {"audience": api, "resource": api}


@pytest.mark.parametrize("api", ["orders", "api.example", "https://api.example/#part", "/orders", "https://[", "é"])
def test_what_is_not_an_absolute_uri_is_no_resource_where_the_provider_may_not_know_it(api: str) -> None:
    # RFC 8707, section 2: the provider would have to refuse it.
    assert api_parameters(BOTH, api) == {"audience": api}
    assert api_parameters((RESOURCE,), api) == {"resource": api}


def test_the_configuration_overrides_each_parameter_and_an_empty_string_leaves_it_out() -> None:
    assert api_parameters(BOTH, API, {"resource": "urn:other"}) == {"audience": API, "resource": "urn:other"}
    assert api_parameters(BOTH, API, {"resource": ""}) == {"audience": API}
    assert api_parameters((AUDIENCE,), API, {"audience": "", "resource": API}) == {"resource": API}
    assert api_parameters(BOTH, None, {"resource": API, "prompt": "login"}) == {"resource": API}


def test_what_is_left_out_is_left_out_for_every_api_and_what_is_named_is_for_the_accounts_own() -> None:
    authorize = {"audience": "", "resource": API, "prompt": ""}
    assert overrides_of_api(authorize) == {"audience": "", "resource": API}
    assert omissions(authorize) == {"audience": ""}
