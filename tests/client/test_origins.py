"""The origins that a program allows: no other one gets a token."""

import pytest

from auth_agent_client.errors import Denied, InvalidRequest
from auth_agent_client.origins import Origins
from auth_agent_client.remedy import allow_origin

ORIGINS = Origins(["https://api.example", "https://git.example:8443/", "http://localhost:8080", "http://[::1]"])


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example",
        "https://api.example/",
        "HTTPS://API.Example.:443/a/../b?c=https://evil.example#d",
        "https://api.example?a",
        "https://git.example:8443/team",
        "http://localhost:8080/",
        "http://[::1]:80/",
    ],
)
def test_a_url_at_an_allowed_origin_gets_a_token(url: str) -> None:
    ORIGINS.check(url)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://evil.example/?x=https://api.example/", "https://evil.example:443"),
        ("https://api.example.evil.example/", "https://api.example.evil.example:443"),
        ("https://a.api.example/", "https://a.api.example:443"),
        ("https://api.example:8443/", "https://api.example:8443"),
        ("http://api.example/", "http://api.example:80"),
        ("http://api.example:443/", "http://api.example:443"),
        ("https://git.example/", "https://git.example:443"),
        ("https://localhost:8080/", "https://localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("ftp://api.example:443/", "ftp://api.example:443"),
    ],
)
def test_any_other_origin_is_denied(url: str, origin: str) -> None:
    with pytest.raises(Denied) as raised:
        ORIGINS.check(url)
    assert raised.value.message == f"no token for {origin}: it is none of the origins that this program allows"
    assert raised.value.remedy == (allow_origin(),)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "//api.example/",
        "https://",
        "https:///api.example",
        "https://api.example:0/",
        "https://api.example:65536/",
        "https://api.example:/",
        "https://hunter2@api.example/",
        "https://api.example\\@evil.example/",
        "https://evil.example\\.api.example/",
        "https://api.example\\hunter2",
        "https://api.example/ hunter2",
        "https://api.example\t/",
        "https://api.example/\n",
        "https://äpi.example/",
        "https://api.example/ä",
        "https://%61pi.example/",
        "https://./",
        "ftp://api.example/",
        "https://api.example\0",
    ],
)
def test_a_url_that_can_be_read_in_different_ways_is_invalid(url: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        ORIGINS.check(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "api.example",
        "https://api.example/path",
        "https://api.example/?a",
        "https://api.example?a",
        "https://api.example#a",
        "https://*.example",
        "http://api.example",
        "http://localhost.evil.example",
        "ftp://localhost:21",
        "https://alice@api.example",
    ],
)
def test_what_is_not_an_origin_that_may_get_tokens_can_not_be_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match=r"is not an origin|must begin with https://"):
        Origins([origin])


def test_one_origin_may_be_given_as_a_string_and_none_allows_nothing() -> None:
    Origins("https://api.example").check("https://api.example/")
    with pytest.raises(Denied):
        Origins([]).check("https://api.example/")
