"""Which account the tokens for a URL are of; above all: never one of another host."""

import ipaddress
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings, strategies

from auth_agent.hosts import HostError, HostRule, Place, find, read_key, read_url


def rules(*keys: str) -> list[HostRule]:
    """A rule for each key, whose account is called as the key is."""
    return [HostRule(key, read_key(key), key) for key in keys]


def chosen(url: str, *keys: str) -> str | None:
    """The key of the rule that a URL is under."""
    found = find(rules(*keys), read_url(url))
    return None if found is None else found.key


# ---- what is the same origin, and what isn't


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://git.example.com", "git.example.com"),
        ("https://git.example.com/", "git.example.com"),
        ("https://git.example.com/team/project.git?a=b#c", "git.example.com"),
        ("https://git.example.com?a=b", "git.example.com"),
        ("https://git.example.com#a", "git.example.com"),
        ("HTTPS://GIT.Example.COM", "git.example.com"),
        ("https://git.example.com.", "git.example.com"),
        ("https://git.example.com", "Git.Example.Com."),
        ("https://git.example.com:443", "git.example.com"),
        ("https://git.example.com", "https://git.example.com:443/"),
        ("https://git.example.com:8443/x", "git.example.com:8443"),
        ("https://192.0.2.7/", "192.0.2.7"),
        ("https://[2001:DB8:0:0::7]/", "[2001:db8::7]"),
        ("https://bücher.example/", "bücher.example"),
        ("https://BÜCHER.example/", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/", "bücher.example"),
        ("http://localhost:8080/x", "http://localhost:8080"),
        ("http://127.0.0.1/x", "http://127.0.0.1:80"),
        ("http://[::1]/x", "http://[::1]"),
        ("https://build_1.example.com", "build_1.example.com"),
        ("https://a.example.com/", "*.example.com"),
        ("https://a.example.com:8443/", "*.example.com:8443"),
    ],
)
def test_a_url_is_under_the_rule_of_its_origin(url: str, key: str) -> None:
    assert chosen(url, key) == key


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://git.example.com:8443", "git.example.com"),
        ("https://git.example.com", "git.example.com:8443"),
        ("https://sub.git.example.com", "git.example.com"),
        ("https://example.com", "git.example.com"),
        ("https://git.example.com.evil.example", "git.example.com"),
        ("https://evilgit.example.com", "git.example.com"),
        ("https://git-example.com", "git.example.com"),
        ("https://example.com", "*.example.com"),
        ("https://a.b.example.com", "*.example.com"),
        ("https://aexample.com", "*.example.com"),
        ("https://a.example.com:8443", "*.example.com"),
        ("http://localhost:8080", "localhost:8080"),
        ("https://localhost:8080", "http://localhost:8080"),
        ("http://localhost:8080", "http://127.0.0.1:8080"),
        ("https://xn--fa-hia.example/", "fass.example"),
    ],
)
def test_a_url_of_another_origin_is_not(url: str, key: str) -> None:
    assert chosen(url, key) is None


# ---- of several rules


def test_a_host_by_its_name_comes_before_the_star_and_then_the_longest_path() -> None:
    keys = ("*.example.com/team/project", "a.example.com", "a.example.com/team", "*.example.com")
    assert chosen("https://a.example.com/team/project", *keys) == "a.example.com/team"
    assert chosen("https://a.example.com/other", *keys) == "a.example.com"
    assert chosen("https://b.example.com/team/project/x", *keys) == "*.example.com/team/project"
    assert chosen("https://b.example.com/team", *keys) == "*.example.com"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/team", "h.example/team"),
        ("/team/", "h.example/team"),
        ("/team/x", "h.example/team"),
        ("/te%61m/x", "h.example/team"),
        ("//team//x", "h.example/team"),
        ("/teams", "h.example"),
        ("/Team", "h.example"),
        ("/tea", "h.example"),
        ("/x/team", "h.example"),
        ("/?/team", "h.example"),
        ("/#/team", "h.example"),
        ("/caf%C3%A9", "h.example/café/"),
    ],
)
def test_a_path_is_compared_by_whole_segments_as_servers_read_them(path: str, key: str) -> None:
    assert chosen(f"https://h.example{path}", "h.example", "h.example/team", "h.example/café/") == key


# ---- what is refused


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "it does not begin with https://"),
        ("git.example.com", "it does not begin with https://"),
        ("https:git.example.com", "it does not begin with https://"),
        ("https:/git.example.com", "it does not begin with https://"),
        ("//git.example.com", "it does not begin with https://"),
        ("https:///git.example.com", "it has no host"),
        ("https://?git.example.com", "it has no host"),
        ("https://:443/", "its host or its port is invalid"),
        ("http://git.example.com", "it must begin with https://"),
        ("http://localhost.example.com", "it must begin with https://"),
        ("http://127.0.0.2", "it must begin with https://"),
        ("ssh://git.example.com", "it must begin with https://"),
        ("file://localhost/x", "it must begin with https://"),
        ("https://alice@git.example.com", "a user name"),
        ("https://alice:hunter2@git.example.com", "a user name"),
        ("https://git.example.com@evil.example", "a user name"),
        ("https://@git.example.com", "a user name"),
        ("https://git.example.com\\@evil.example", "backslash"),
        ("https:\\\\git.example.com", "backslash"),
        ("https://git.example.com/a\\..\\b", "backslash"),
        ("https://git.example.com\n.evil.example", "control character"),
        ("https://git.example.com\t", "control character"),
        (" https://git.example.com", "a space"),
        ("https://git.example.com/\x7f", "control character"),
        ("https://git.example.com/\u202e", "control character"),
        ("https://git.example.com:", "host or its port is invalid"),
        ("https://git.example.com:+443", "host or its port is invalid"),
        ("https://git.example.com:\uff14\uff14\uff13", "host or its port is invalid"),
        ("https://git.example.com:443:443", "host or its port is invalid"),
        ("https://git.example.com:0", "its port is not 1 to 65535"),
        ("https://git.example.com:65536", "its port is not 1 to 65535"),
        ("https://git.example.com..", "not a valid host name"),
        ("https://.example.com", "not a valid host name"),
        ("https://git..example.com", "not a valid host name"),
        ("https://-git.example.com", "not a valid host name"),
        ("https://git.example.com%2eevil.example", "not a valid host name"),
        ("https://git%00.example.com", "not a valid host name"),
        ("https://*.example.com", "not a valid host name"),
        (f"https://{'a' * 64}.example.com", "not a valid host name"),
        (f"https://{'a.' * 130}example.com", "not a valid host name"),
        ("https://2130706433", "not an IPv4 address"),
        ("https://0x7f.1", "not an IPv4 address"),
        ("https://127.1", "not an IPv4 address"),
        ("https://0177.0.0.1", "not an IPv4 address"),
        ("https://1.2.3.4.5", "not an IPv4 address"),
        ("https://[::1", "host or its port is invalid"),
        ("https://[::1]x", "host or its port is invalid"),
        ("https://[fe80::1%25eth0]", "host or its port is invalid"),
        ("https://[1:2]", "not an IPv6 address"),
        ("https://faß.example", "programs encode differently"),
        ("https://bücher.example\uff0e", "programs encode differently"),
        ("https://git\u3002example.com", "programs encode differently"),
        ("https://\u2100.example", "programs encode differently"),
        ("https://git.example.com\uff0fevil.example", "programs encode differently"),
        (f"https://{'ü' * 5000}.example", "programs encode differently"),
        ("https://git.example.com/a/../b", "has a segment . or .."),
        ("https://git.example.com/./b", "has a segment . or .."),
        ("https://git.example.com/..;x/b", "has a segment . or .."),
        ("https://git.example.com/..%3Bx/b", "has a segment . or .."),
        ("https://git.example.com/a/%2e%2E/b", "an escaped dot"),
        ("https://git.example.com/a%2Fb", "an escaped dot, slash"),
        ("https://git.example.com/a%5cb", "an escaped dot, slash"),
        ("https://git.example.com/a%00b", "control character"),
        ("https://git.example.com/a%", "escapes nothing"),
        ("https://git.example.com/a%zz", "escapes nothing"),
    ],
)
def test_what_programs_could_read_in_two_ways_is_refused(url: str, said: str) -> None:
    with pytest.raises(HostError) as raised:
        read_url(url)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "key",
    [
        *("", "*", "*.", "*.com", "*.*.example.com", "a.*.example.com", "*a.example.com", "*.192.0.2.7", "*.[::1]"),
        *("http://*.example.com", "http://example.com", "alice@example.com", "example.com?a", "example.com#a"),
        *("ex ample.com", "example.com/../x", "example.com:x", "/team", "ftp://example.com"),
    ],
)
def test_what_is_no_key_of_a_rule(key: str) -> None:
    with pytest.raises(HostError):
        read_key(key)


@pytest.mark.parametrize(
    ("url", "origin", "key"),
    [
        ("https://Git.example.com/x?secret#y", "https://git.example.com", "git.example.com"),
        ("https://git.example.com:8443", "https://git.example.com:8443", "git.example.com:8443"),
        ("http://localhost", "http://localhost", "http://localhost"),
        ("https://[::1]:443", "https://[::1]", "[::1]"),
    ],
)
def test_an_origin_is_shown_without_path_and_query_and_can_be_made_a_rule(url: str, origin: str, key: str) -> None:
    place = read_url(url)
    assert (place.origin, place.key) == (origin, key)
    assert chosen(url, place.key) == key


# ---- for every URL

LABELS = strategies.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
HOSTS = strategies.lists(LABELS, min_size=1, max_size=4).map(".".join)
# Around what parsers stumble over, whatever stands between.
PIECES = strategies.sampled_from(
    [
        *"/\\@:?#[]%.;&=+*~^|`{}<>\"' \t\n\r\x00\x7f",
        *("//", "https:", "http://", "%2e", "%2f", "%40", "%5c", "..", "xn--", "443", "0", "0x7f", "::1", "-", "_"),
        *("ß", "ü", "\u2100", "\uff0f", "\uff0e", "\u3002", "\u200d", "\u00ad", "\u0130", "\u212a", "\uff14"),
        *("git.example.com", "evil.example", "localhost", "127.0.0.1", "[::1]", "user", "team"),
    ]
)
URLS = strategies.one_of(
    strategies.builds(
        "https://{}{}{}{}".format,
        HOSTS,
        PIECES,
        HOSTS | strategies.just(""),
        strategies.sampled_from(["", ":443", ":8443", "/", "/a", "?a", "#a"]),
    ),
    strategies.lists(PIECES, max_size=8).map(lambda pieces: "https://" + "".join(pieces)),
    strategies.lists(PIECES, max_size=8).map(lambda pieces: "https://git.example.com" + "".join(pieces)),
    strategies.lists(PIECES, max_size=8).map("".join),
    strategies.text(max_size=30).map("https://{}".format),
)


def _plain(host: str) -> str:
    """A host as both libraries may give it: lower case, an A-label, an address in its short form, no final dot."""
    name = host.strip("[]").removesuffix(".")
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return (name if name.isascii() else name.encode("idna").decode()).lower()


@settings(max_examples=1000)
@given(URLS)
def test_whatever_is_not_refused_goes_where_httpx_and_urllib_send_it(url: str) -> None:
    try:
        place = read_url(url)
    except HostError:
        return
    sent = httpx.URL(url)
    host = place.host.strip("[]")
    assert (sent.scheme, _plain(sent.raw_host.decode())) == (place.scheme, host)
    assert (sent.port or {"https": 443, "http": 80}[sent.scheme]) == place.port
    assert sent.userinfo == b""
    parts = urlsplit(url)
    assert (parts.scheme, _plain(parts.hostname or "")) == (place.scheme, host)
    assert (parts.port or {"https": 443, "http": 80}[parts.scheme]) == place.port
    assert parts.username is None


@given(HOSTS, HOSTS, strategies.sampled_from(["", ":443", ":8443"]), strategies.sampled_from(["", "/team", "/team/x"]))
def test_no_rule_but_one_with_a_star_is_for_another_host(mine: str, other: str, port: str, path: str) -> None:
    try:
        found = find(rules(f"{mine}{port}{path}"), read_url(f"https://{other}{port}{path}"))
    except HostError:  # a number at the end
        return
    assert (found is not None) == (mine == other)


@given(strategies.lists(HOSTS, unique=True, max_size=5), strategies.sampled_from(["", "/team"]), HOSTS)
def test_what_is_found_fits_and_nothing_better_does(hosts: list[str], path: str, host: str) -> None:
    def places(*keys: str) -> list[HostRule]:
        made: list[HostRule] = []
        for key in keys:
            try:
                made.extend(rules(key))
            except HostError:
                continue
        return made

    known = places(*hosts, *(f"*.{one}{path}" for one in hosts), *(f"{one}/team" for one in hosts))
    for target in places(host, *(f"x.{one}" for one in hosts), *(f"{one}/team/x" for one in hosts)):
        found = find(known, target.place)
        fitting = [rule for rule in known if rule.fits(target.place)]
        assert (found is None) == (not fitting)
        if found is not None:
            assert found.fits(target.place)
            assert found.rank == max(rule.rank for rule in fitting)
            assert sum(rule.rank == found.rank for rule in fitting) == 1


@given(HOSTS, strategies.text(max_size=10))
def test_a_place_is_its_own_rule(host: str, text: str) -> None:
    try:
        place = read_url(f"https://{host}/{text}")
    except HostError:
        return
    assert find([HostRule("key", Place(place.scheme, place.host, place.port), "work")], place) is not None
