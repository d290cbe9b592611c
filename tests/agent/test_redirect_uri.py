"""A login's redirect URI: as the provider gets it, as browsers write it, and as a person pastes it."""

import pytest

from auth_agent.loopback.redirect_uri import RedirectURI

DEFAULT = RedirectURI(48631)
ENTRA = RedirectURI(48631, "localhost", "")


def test_the_provider_gets_host_port_and_path() -> None:
    assert str(DEFAULT) == "http://127.0.0.1:48631/callback"
    assert str(ENTRA) == "http://localhost:48631"
    assert str(RedirectURI(1, "localhost", "/a/b")) == "http://localhost:1/a/b"


def test_a_browser_leaves_out_the_port_of_http() -> None:
    assert ENTRA.netloc == "localhost:48631"
    assert RedirectURI(80, "localhost").netloc == "localhost"


@pytest.mark.parametrize(
    ("uri", "path", "expected"),
    [
        (DEFAULT, "/callback", True),
        (DEFAULT, "/", False),
        (DEFAULT, "/callback/", False),
        (ENTRA, "/", True),
        (ENTRA, "", False),
        (ENTRA, "/callback", False),
        (RedirectURI(1, path="/"), "/", True),
        (RedirectURI(1, path="/login/callback"), "/login/callback", True),
    ],
)
def test_an_empty_path_is_requested_as_a_slash(uri: RedirectURI, path: str, expected: bool) -> None:
    assert uri.has_path(path) is expected


@pytest.mark.parametrize(
    ("uri", "url", "query"),
    [
        (DEFAULT, "http://127.0.0.1:48631/callback?code=a&state=b", "code=a&state=b"),
        (DEFAULT, " http://127.0.0.1:48631/callback?code=a\n", "code=a"),
        (DEFAULT, "HTTP://127.0.0.1:48631/callback?code=a#_=_", "code=a"),
        (ENTRA, "http://localhost:48631/?code=a", "code=a"),
        (ENTRA, "http://localhost:48631?code=a", "code=a"),
        (ENTRA, "http://LocalHost:48631?code=a", "code=a"),
        (RedirectURI(80, "localhost"), "http://localhost/callback?code=a", "code=a"),
        (RedirectURI(48631, "[::1]"), "http://[::1]:48631/callback?code=a", "code=a"),
    ],
)
def test_a_pasted_url_has_the_query(uri: RedirectURI, url: str, query: str) -> None:
    assert uri.query_of(url) == query


@pytest.mark.parametrize(
    "url",
    [
        "",
        "code=a",
        "https://127.0.0.1:48631/callback?code=a",
        "http://localhost:48631/callback?code=a",
        "http://127.0.0.1:48632/callback?code=a",
        "http://127.0.0.1/callback?code=a",
        "http://127.0.0.1:48631/?code=a",
        "http://x@127.0.0.1:48631/callback?code=a",
        "http://127.0.0.1:48631x/callback?code=a",
        "http://[::1/callback",
    ],
)
def test_another_url_is_not_this_logins(url: str) -> None:
    assert DEFAULT.query_of(url) is None
