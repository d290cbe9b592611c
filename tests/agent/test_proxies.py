"""Which proxy a request goes through, for every spelling of the variables that curl takes, and for wrong ones."""

import ssl

import pytest
from hypothesis import given, strategies

from auth_agent.oauth.transport import Transport
from auth_agent.proxies import Proxies, ProxyError, account_proxies, environment_proxies, parse_proxy

PROXY = "http://proxy.example:3128"
HOST = "id.example"
CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def found(environ: dict[str, str], host: str = HOST, port: int = 443) -> str | None:
    proxy = environment_proxies(environ).find(host, port)
    return None if proxy is None else proxy.url


# ---- the URL


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (PROXY, PROXY),
        ("HTTP://Proxy.Example:3128/", PROXY),
        ("http://proxy.example", "http://proxy.example:80"),
        ("http://proxy.example:", "http://proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
        ("socks5h://127.0.0.1:9050/", "socks5h://127.0.0.1:9050"),
        ("socks://127.0.0.1:7891/", "socks5h://127.0.0.1:7891"),
        ("proxy.example:3128", PROXY),
        ("anna:secret@proxy.example:3128", PROXY),
        (" http://proxy.example:3128 ", PROXY),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
        ("http://proxy.example:3128/path?query", PROXY),
        ("http://bücher.example:1", "http://xn--bcher-kva.example:1"),
    ],
)
def test_a_proxys_url_is_read_in_every_spelling(text: str, url: str) -> None:
    assert parse_proxy(text).url == url


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("anna:secret", ("anna", "secret")),
        ("anna", ("anna", "")),
        ("anna:", ("anna", "")),
        (":secret", ("", "secret")),
        ("anna:p%40ss%3Aw%23rd", ("anna", "p@ss:w#rd")),
        ("anna:p@ss#w/o?rd", ("anna", "p@ss#w/o?rd")),
        ("anna:50%", ("anna", "50%")),
        ("anna:p%C3%A4ss", ("anna", "päss")),
        ("DOMAIN%5Canna:x", (r"DOMAIN\anna", "x")),
    ],
)
def test_user_and_password_are_decoded(text: str, credentials: tuple[str, str]) -> None:
    proxy = parse_proxy(f"http://{text}@proxy.example:3128")
    assert (proxy.url, proxy.credentials) == (PROXY, credentials)


def test_a_url_without_a_user_has_no_credentials() -> None:
    assert parse_proxy(PROXY).credentials is None


@pytest.mark.parametrize(
    "text",
    [
        *("socks4://127.0.0.1", "socks4a://127.0.0.1", "ftp://127.0.0.1", "direct://", "hunter2://127.0.0.1"),
        *("pac+http://proxy.example/hunter2.pac", "http://proxy.example/proxy.pac", "http://hunter2/wpad.dat"),
        *("http://", "http://anna:hunter2@", "http://[hunter2@", "http://[::1", "http://::1", "http://[hunter2]:1"),
        *("http://anna:hunter2", "http://proxy.example:0", "http://proxy.example:65536", "http://proxy.example:٣"),
        *("http://proxy.example:hunter2", "http://proxy.example:-1", "http://proxy.example:000003128"),
        *("foo bar", "http://foo bar", "http://hunt\ner2", "http://a..b", "http://.", f"http://{'a' * 64}", "://", ""),
        *("http://anna:hunter2%E4@proxy.example", "socks5://anna:hunter2ä@proxy.example"),
        *(f"http://{'a.' * 127}a", "http://\udcff", f"http://anna:{'hunter2' * 37}@proxy.example"),
    ],
)
def test_a_url_that_can_not_be_used_is_an_error_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(ProxyError) as raised:
        parse_proxy(text)
    assert "hunter2" not in repr((raised.value, raised.value.__cause__))


@given(strategies.text() | strategies.from_regex(r"(http|socks5h?)://.*"))
def test_any_text_is_a_proxy_or_an_error(text: str) -> None:
    try:
        proxy = parse_proxy(text)
    except ProxyError:
        return
    assert 0 < proxy.port < 65536
    assert proxy.host
    assert parse_proxy(proxy.url).url == proxy.url
    Transport(lambda: CERTIFICATES, Proxies(proxy))


def test_no_repr_shows_the_user_or_the_password() -> None:
    proxy = parse_proxy("http://anna:hunter2@proxy.example:3128")
    shown = repr((proxy, str(proxy), proxy.user, proxy.password, proxy.place, proxy.url))
    assert "anna" not in shown
    assert "hunter2" not in shown


# ---- which variable counts


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"all_proxy": PROXY}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "http://lower:1"),
        ({"HTTPS_PROXY": "http://https:1", "all_proxy": "http://all:1"}, "http://https:1"),
        ({"all_proxy": "http://lower:1", "ALL_PROXY": "http://upper:1"}, "http://lower:1"),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": "", "all_proxy": ""}, None),
        ({"http_proxy": PROXY, "HTTP_PROXY": PROXY, "Https_Proxy": PROXY, "ftp_proxy": PROXY}, None),
    ],
)
def test_the_variables_count_in_curls_order(environ: dict[str, str], url: str | None) -> None:
    assert found(environ) == url


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_one_that_can_not_be_used_is_named_where_it_is_needed(name: str) -> None:
    proxies = environment_proxies({name: "ftp://anna:hunter2@proxy.example", "no_proxy": "intra.example"})
    assert proxies.find("intra.example", 443) is None
    assert proxies.find("127.0.0.1", 443) is None
    with pytest.raises(ProxyError) as raised:
        proxies.find(HOST, 443)
    assert raised.value.variable == name
    assert name in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_one_that_does_not_count_may_be_wrong() -> None:
    assert found({"https_proxy": PROXY, "ALL_PROXY": "nonsense://"}) == PROXY


def test_an_accounts_own_proxy_has_no_variable() -> None:
    assert account_proxies(PROXY).find(HOST, 443) == parse_proxy(PROXY)
    with pytest.raises(ProxyError) as raised:
        account_proxies("socks4://proxy.example").find(HOST, 443)
    assert raised.value.variable is None


# ---- hosts without a proxy


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_is_never_proxied(host: str) -> None:
    assert found({"https_proxy": PROXY, "ALL_PROXY": PROXY}, host) is None
    assert account_proxies(PROXY).find(host, 80) is None


@pytest.mark.parametrize(
    ("value", "host"),
    [
        *[("*", host) for host in (HOST, "192.0.2.1", "2001:db8::1")],
        *[("id.example", host) for host in (HOST, "ID.Example", "id.example.", "a.id.example")],
        *[(".example", host) for host in (HOST, "a.b.example", "example")],
        *[("*.example", host) for host in (HOST, "example")],
        *[(value, HOST) for value in ("ID.EXAMPLE", "id.example.", ".id.example.", "id.example:443")],
        *[(value, HOST) for value in ("a,id.example", "a id.example", " a ,\t id.example , b", "a,,id.example,")],
        *[
            (value, "192.0.2.1")
            for value in ("192.0.2.1", "192.0.2.0/24", "192.0.2.1/32", "0.0.0.0/0", "192.0.2.1:443")
        ],
        *[("192.0.2.77/24", host) for host in ("192.0.2.1", "192.0.2.255", "::ffff:192.0.2.1")],
        *[(value, "2001:db8::1") for value in ("2001:db8::1", "[2001:db8::1]", "2001:DB8:0::1", "2001:db8::/32")],
        *[(value, "2001:db8::1") for value in ("[2001:db8::]/32", "[2001:db8::1]:443", "::/0")],
        ("fe80::/10", "fe80::1%eth0"),
    ],
)
def test_an_exception_covers_a_host(value: str, host: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert found({"https_proxy": PROXY, name: value}, host) is None


@pytest.mark.parametrize(
    ("value", "host"),
    [
        *[("example.com", host) for host in ("nonexample.com", "example.com.evil.example", "example.org", "com")],
        *[(value, HOST) for value in ("id.example:80", "a.id.example", "", ",", ".", "..", "id", "id.*", "**")],
        *[(value, "192.0.2.1") for value in ("192.0.3.0/24", "2.1", ".1", "192.0.2", "192.0.2.1/33", "192.0.2.1:80")],
        *[(value, "2001:db8::1") for value in ("2001:db9::/32", "[2001:db8::1]:80", "[2001:db8::1", "[]", "0.0.0.0/0")],
        ("::/0", "192.0.2.1"),
    ],
)
def test_an_exception_does_not_cover_another_host(value: str, host: str) -> None:
    assert found({"https_proxy": PROXY, "no_proxy": value}, host) == PROXY


def test_the_lower_case_exceptions_count_before_the_upper_case_ones() -> None:
    assert found({"https_proxy": PROXY, "no_proxy": "a", "NO_PROXY": "*"}) == PROXY
    assert found({"https_proxy": PROXY, "no_proxy": "", "NO_PROXY": "*"}) is None


def test_an_accounts_own_proxy_has_no_exceptions() -> None:
    assert account_proxies(PROXY).find(HOST, 443) is not None
    assert Proxies().find(HOST, 443) is None


@given(strategies.text(), strategies.text() | strategies.ip_addresses().map(str))
def test_any_exceptions_can_be_read(value: str, host: str) -> None:
    found({"https_proxy": PROXY, "no_proxy": value}, host)
