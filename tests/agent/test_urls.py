"""Which URLs and issuers are accepted."""

import pytest
from hypothesis import given, strategies as st

from auth_agent.urls import InvalidURLError, check_issuer, check_url, is_same_issuer


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.example",
        "https://acme.example/",
        "https://acme.example:8443/tenant/v2",
        "HTTPS://ACME.example/",
        "https://192.0.2.7/",
        "https://[2001:db8::1]:8443/",
        "https://xn--bcher-kva.example/",
        "https://acme.example/token?tenant=a",
        "http://127.0.0.1:4000/",
        "http://localhost:4000",
        "http://LOCALHOST:4000",
        "http://[::1]:4000/",
    ],
)
def test_https_is_accepted_and_http_on_this_machine(url: str) -> None:
    assert check_url(url).geturl().lower() == url.lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.example/",
        "http://127.0.0.1.acme.example/",
        "http://localhost.acme.example/",
        "http://192.168.0.1/",
        "http://0.0.0.0:4000/",
        "http://[2001:db8::1]/",
        "ftp://acme.example/",
        "ws://acme.example/",
        "//acme.example/",
    ],
)
def test_http_elsewhere_and_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(InvalidURLError) as raised:
        check_url(url)
    assert repr(url) in str(raised.value)


@pytest.mark.parametrize("character", [*'"<>\\^`{|} ', "\x7f", "\x00", "\t", "é", "\u202e"])
@pytest.mark.parametrize("url", ["https://acme.example/{}", "https://acme.example/?a={}", "https://ac{}me.example/#a"])
def test_a_character_that_no_uri_has_is_refused(url: str, character: str) -> None:
    with pytest.raises(InvalidURLError) as raised:
        check_url(url.replace("{}", character))
    assert str(raised.value).isprintable()


def test_every_character_that_a_uri_may_have_is_accepted() -> None:
    url = "https://acme.example/-._~!$&'()*+,;=:@%20/?a=[1]#b"
    assert check_url(url).geturl() == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:2375/containers/create", "http://localhost/", "http://[::1]:9/x"])
def test_a_provider_elsewhere_names_no_http_url_of_this_machine(url: str) -> None:
    assert check_url(url, "http://127.0.0.1:4000/").geturl() == url
    for issuer in ("https://acme.example/", "HTTPS://127.0.0.1:4000/"):
        with pytest.raises(InvalidURLError, match="as the issuer does"):
            check_url(url, issuer)
        assert check_url("https://127.0.0.1/", issuer).scheme == "https"


def test_a_url_has_a_maximum_length() -> None:
    longest = "https://acme.example/".ljust(2000, "a")
    assert check_url(longest).geturl() == longest
    with pytest.raises(InvalidURLError) as raised:
        check_url(f"{longest}a")
    assert "2000" in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme.example",
        "https:",
        "https://",
        "https:///path",
        "https:acme.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user@acme.example/",
        "https://user:password@acme.example/",
        "https://@acme.example/",
        "https://acme.example@evil.example/",
        "https://acme.example\\@evil.example/",
        "https://bücher.example/",
        "https://acme.example/ä",
        "https://аcme.example/",  # noqa: RUF001 -- a Cyrillic letter
        "https://acme.example/\n",
        "https://acme.example/\x1b[31m",
        "https://acme.example/\0",
        "\thttps://acme.example/",
    ],
)
def test_a_url_without_host_with_user_or_not_ascii_is_refused(url: str) -> None:
    with pytest.raises(InvalidURLError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.example:port/",
        "https://acme.example:65536/",
        "https://acme.example:-1/",
        "https://[::1/",
        "https://[x]/",
    ],
)
def test_a_url_with_an_invalid_port_or_bracket_is_refused(url: str) -> None:
    with pytest.raises(InvalidURLError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        " https://acme.example/",
        "https://acme.example/ ",
        "https://ac me.example/",
        "https://acme.example/a b",
        "https:// /",
    ],
)
def test_a_url_with_a_space_is_refused(url: str) -> None:
    with pytest.raises(InvalidURLError):
        check_url(url)


@given(
    st.text(alphabet=st.characters(codec=None))
    | st.text(alphabet="htps:/@[]?#.%1a\\ \t\n-é").map("https://".__add__)
    | st.text(alphabet="htps:/@[]?#.%1a\\ \t\n-é").map("http://".__add__)
)
def test_of_any_string_only_https_or_this_machine_is_accepted(url: str) -> None:
    try:
        parts = check_url(url)
    except InvalidURLError as error:
        message = str(error)
    else:
        message = ""
        assert parts.hostname
        assert parts.username is None
        assert parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        )
    assert message.isprintable()


@pytest.mark.parametrize("issuer", ["https://acme.example", "https://acme.example/", "https://acme.example/tenant/v2/"])
def test_an_issuer_may_have_a_path_and_a_trailing_slash(issuer: str) -> None:
    check_issuer(issuer)  # doesn't raise


@pytest.mark.parametrize(
    "issuer",
    [
        "https://acme.example/?a=b",
        "https://acme.example?",
        "https://acme.example/#a",
        "https://acme.example#",
        "https://acme.example/?#",
    ],
)
def test_an_issuer_with_a_query_or_a_fragment_is_refused(issuer: str) -> None:
    with pytest.raises(InvalidURLError):
        check_issuer(issuer)


def test_an_issuer_must_be_https() -> None:
    with pytest.raises(InvalidURLError):
        check_issuer("http://acme.example/")


@pytest.mark.parametrize(
    ("named", "issuer", "expected"),
    [
        ("https://acme.example", "https://acme.example/", True),
        ("https://ACME.example", "HTTPS://acme.EXAMPLE/", True),
        ("https://acme.example:443/t", "https://acme.example/t/", True),
        ("http://localhost:80", "http://localhost", True),
        ("https://acme.example/T", "https://acme.example/t", False),
        ("https://acme.example:80", "https://acme.example", False),
        ("http://localhost:443", "http://localhost", False),
        ("https://acme.example:4430", "https://acme.example:443", False),
        ("https://acme.example/a:443", "https://acme.example/a", False),
        ("http://acme.example", "https://acme.example", False),
        ("https://acme.example.", "https://acme.example", False),
        ("https://x@acme.example", "https://acme.example", False),
        ("https://acme.example/?a", "https://acme.example", False),
        ("acme.example", "https://acme.example", False),
        ("", "https://acme.example", False),
        (None, "https://acme.example", False),
        (["https://acme.example"], "https://acme.example", False),
    ],
)
def test_an_issuer_is_the_same_in_another_spelling(named: object, issuer: str, expected: bool) -> None:
    assert is_same_issuer(named, issuer) is expected
    if isinstance(named, str):
        assert is_same_issuer(issuer, named) is expected


@given(st.text())
def test_any_string_is_the_same_issuer_as_itself(string: str) -> None:
    assert is_same_issuer(string, string)


@pytest.mark.parametrize(
    ("issuer", "hint"),
    [
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "tenant's id"),
        ("https://acme.example/t/.well-known/openid-configuration", "'https://acme.example/t'"),
        ("https://acme.example/.well-known/oauth-authorization-server/t", "'https://acme.example/t'"),
    ],
)
def test_what_people_take_for_an_issuer_is_refused_with_what_to_write(issuer: str, hint: str) -> None:
    with pytest.raises(InvalidURLError, match=hint):
        check_issuer(issuer)
