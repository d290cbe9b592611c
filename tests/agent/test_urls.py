"""Which addresses may be spoken to."""

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.urls import InvalidURLError, check_issuer, check_url


@pytest.mark.parametrize(
    "address",
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
def test_https_is_an_address_and_http_on_this_machine(address: str) -> None:
    assert check_url(address).geturl().lower() == address.lower()


@pytest.mark.parametrize(
    "address",
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
def test_http_elsewhere_and_other_schemes_are_refused(address: str) -> None:
    with pytest.raises(InvalidURLError) as raised:
        check_url(address)
    assert str(raised.value) == f"{address!r} must begin with https:// (http:// is for this machine only)"


def test_an_address_has_an_end() -> None:
    longest = "https://acme.example/".ljust(2000, "a")
    assert check_url(longest).geturl() == longest
    with pytest.raises(InvalidURLError) as raised:
        check_url(f"{longest}a")
    assert "is longer than 2000 characters" in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "address",
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
def test_what_names_no_host_or_a_user_or_is_no_ascii_is_refused(address: str) -> None:
    with pytest.raises(InvalidURLError, match=r"is no address of a host, without a user$"):
        check_url(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://acme.example:port/",
        "https://acme.example:65536/",
        "https://acme.example:-1/",
        "https://[::1/",
        "https://[x]/",
    ],
)
def test_what_has_no_port_where_a_port_stands_or_half_a_bracket_is_refused(address: str) -> None:
    with pytest.raises(InvalidURLError) as raised:
        check_url(address)
    assert str(raised.value) == f"{address!r} is no address"


@pytest.mark.parametrize(
    "address",
    [
        " https://acme.example/",
        "https://acme.example/ ",
        "https://ac me.example/",
        "https://acme.example/a b",
        "https:// /",
    ],
)
def test_an_address_with_a_space_is_refused(address: str) -> None:
    with pytest.raises(InvalidURLError):
        check_url(address)


@settings(deadline=None)
@given(
    st.text(alphabet=st.characters(codec=None))
    | st.text(alphabet="htps:/@[]?#.%1a\\ \t\n-é").map("https://".__add__)
    | st.text(alphabet="htps:/@[]?#.%1a\\ \t\n-é").map("http://".__add__)
)
def test_of_any_text_only_https_or_this_machine_is_taken_and_complaints_can_be_printed(address: str) -> None:
    try:
        parts = check_url(address)
    except InvalidURLError as error:
        said = str(error)
    else:
        said = ""
        assert parts.hostname
        assert parts.username is None
        assert parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        )
    assert said.isprintable()


@pytest.mark.parametrize("issuer", ["https://acme.example", "https://acme.example/", "https://acme.example/tenant/v2/"])
def test_an_issuer_may_have_a_path_with_or_without_a_slash_at_its_end(issuer: str) -> None:
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
def test_an_issuer_with_a_query_or_a_fragment_is_refused_even_an_empty_one(issuer: str) -> None:
    with pytest.raises(InvalidURLError, match="has a query or a fragment; an issuer has none"):
        check_issuer(issuer)


def test_an_issuer_has_to_be_an_address_first() -> None:
    with pytest.raises(InvalidURLError, match="must begin with https://"):
        check_issuer("http://acme.example/")
