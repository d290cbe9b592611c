"""Which account's token a URL gets; above all, never one of another host's."""

import ipaddress
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings, strategies

from auth_agent.hosts import HostError, HostRule, Place, find, read_key, read_url, username


def rules_of(*keys: str) -> list[HostRule]:
    """Return a rule for each key, whose account is named as the key."""
    return [HostRule(key, read_key(key), key) for key in keys]


def matching_key(url: str, *keys: str) -> str | None:
    """Return the key of the rule for a URL."""
    rule = find(rules_of(*keys), read_url(url))
    return None if rule is None else rule.key


# ---- the origin


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
def test_a_url_matches_the_rule_of_its_origin(url: str, key: str) -> None:
    assert matching_key(url, key) == key


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
def test_a_url_of_another_origin_matches_no_rule(url: str, key: str) -> None:
    assert matching_key(url, key) is None


# ---- several rules


def test_an_exact_host_precedes_a_wildcard_and_then_the_longest_path() -> None:
    keys = ("*.example.com/team/project", "a.example.com", "a.example.com/team", "*.example.com")
    assert matching_key("https://a.example.com/team/project", *keys) == "a.example.com/team"
    assert matching_key("https://a.example.com/other", *keys) == "a.example.com"
    assert matching_key("https://b.example.com/team/project/x", *keys) == "*.example.com/team/project"
    assert matching_key("https://b.example.com/team", *keys) == "*.example.com"


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
    assert matching_key(f"https://h.example{path}", "h.example", "h.example/team", "h.example/café/") == key


# ---- directories


@pytest.mark.parametrize(
    ("url", "directory", "account"),
    [
        ("https://h.example/x", None, "anywhere"),
        ("https://h.example/x", "/home/anna", "anywhere"),
        ("https://h.example/x", "/home/anna/src/acme", "acme"),
        ("https://h.example/x", "/home/anna/src/acme/deep/er", "acme"),
        ("https://h.example/x", "/home/anna/src/acme/secret/x", "secret"),
        ("https://h.example/x", "/home/anna/src/acme2", "anywhere"),
        ("https://h.example/x", "/home/anna/src/acme/../other", "anywhere"),
        ("https://h.example/team/x", "/home/anna/src/acme", "team"),  # the path comes before the directory
        ("https://only.example/", "/srv/x", "srv"),
        ("https://only.example/", "/", None),
        ("https://only.example/", None, None),
        ("https://root.example/", "/x", "root"),
    ],
)
def test_a_rule_may_be_limited_to_programs_in_a_directory(url: str, directory: str | None, account: str | None) -> None:
    rules = [
        HostRule(key, read_key(key), name, directory=where)
        for key, name, where in (
            ("h.example", "anywhere", None),
            ("h.example", "acme", "/home/anna/src/acme"),
            ("h.example", "secret", "/home/anna/src/acme/secret"),
            ("h.example/team", "team", None),
            ("only.example", "srv", "/srv"),
            ("root.example", "root", "/"),
        )
    ]
    for some in (rules, rules[::-1]):
        rule = find(some, read_url(url), directory)
        assert (None if rule is None else rule.account) == account


# ---- refused URLs and keys


# Each list is of URLs that are refused for one reason; tests/test_wording.py has the sentence for it.
REFUSED = {
    "scheme or slashes": [
        "",
        "git.example.com",
        "https:git.example.com",
        "https:/git.example.com",
        "//git.example.com",
    ],
    "no host": [
        "https:///git.example.com",
        "https://?git.example.com",
    ],
    "host or port": [
        "https://:443/",
        "https://git.example.com:",
        "https://git.example.com:+443",
        "https://git.example.com:\uff14\uff14\uff13",
        "https://git.example.com:443:443",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]",
    ],
    "not https": [
        "http://git.example.com",
        "http://localhost.example.com",
        "http://127.0.0.2",
        "ssh://git.example.com",
        "file://localhost/x",
    ],
    "user name": [
        "https://alice@git.example.com",
        "https://alice:hunter2@git.example.com",
        "https://git.example.com@evil.example",
        "https://@git.example.com",
    ],
    "backslash, space or control character": [
        "https://git.example.com\\@evil.example",
        "https:\\\\git.example.com",
        "https://git.example.com/a\\..\\b",
        "https://git.example.com\n.evil.example",
        "https://git.example.com\t",
        " https://git.example.com",
        "https://git.example.com/\x7f",
        "https://git.example.com/\u202e",
    ],
    "port number": [
        "https://git.example.com:0",
        "https://git.example.com:65536",
    ],
    "host name": [
        "https://git.example.com..",
        "https://.example.com",
        "https://git..example.com",
        "https://-git.example.com",
        "https://git.example.com%2eevil.example",
        "https://git%00.example.com",
        "https://*.example.com",
        f"https://{'a' * 64}.example.com",
        f"https://{'a.' * 130}example.com",
    ],
    "IPv4 address": [
        "https://2130706433",
        "https://0x7f.1",
        "https://127.1",
        "https://0177.0.0.1",
        "https://1.2.3.4.5",
    ],
    "IPv6 address": [
        "https://[1:2]",
    ],
    "international name": [
        "https://faß.example",
        "https://bücher.example\uff0e",
        "https://git\u3002example.com",
        "https://\u2100.example",
        "https://git.example.com\uff0fevil.example",
        f"https://{'ü' * 5000}.example",
    ],
    "dot segment": [
        "https://git.example.com/a/../b",
        "https://git.example.com/./b",
        "https://git.example.com/..;x/b",
        "https://git.example.com/..%3Bx/b",
    ],
    "escape": [
        "https://git.example.com/a/%2e%2E/b",
        "https://git.example.com/a%2Fb",
        "https://git.example.com/a%5cb",
        "https://git.example.com/a%00b",
        "https://git.example.com/a%",
        "https://git.example.com/a%zz",
    ],
}


def refusal(url: str) -> str:
    """Return why a URL is refused."""
    with pytest.raises(HostError) as raised:
        read_url(url)
    return str(raised.value)


@pytest.mark.parametrize("urls", REFUSED.values(), ids=REFUSED)
def test_a_url_that_programs_could_parse_differently_is_refused(urls: list[str]) -> None:
    reasons = {refusal(url) for url in urls}
    assert len(reasons) == 1
    assert "hunter2" not in reasons.pop()


def test_each_kind_of_refused_url_has_its_own_reason() -> None:
    assert len({refusal(urls[0]) for urls in REFUSED.values()}) == len(REFUSED)


@pytest.mark.parametrize(
    "key",
    [
        *("", "*", "*.", "*.com", "*.*.example.com", "a.*.example.com", "*a.example.com", "*.192.0.2.7", "*.[::1]"),
        *("http://*.example.com", "http://example.com", "alice@example.com", "example.com?a", "example.com#a"),
        *("ex ample.com", "example.com/../x", "example.com:x", "/team", "ftp://example.com"),
    ],
)
def test_an_invalid_key_of_a_rule_is_refused(key: str) -> None:
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
def test_an_origin_has_no_path_or_query_and_is_a_valid_key(url: str, origin: str, key: str) -> None:
    place = read_url(url)
    assert (place.origin, place.key) == (origin, key)
    assert matching_key(url, place.key) == key


# ---- any URL

LABELS = strategies.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
HOSTS = strategies.lists(LABELS, min_size=1, max_size=4).map(".".join)
# Pieces that URL parsers treat differently.
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


def _normalized(host: str) -> str:
    """Normalize a host of either library: lower case, an A-label, an address in its short form, no final dot."""
    name = host.strip("[]").removesuffix(".")
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return (name if name.isascii() else name.encode("idna").decode()).lower()


@settings(max_examples=1000)
@given(URLS)
def test_an_accepted_url_has_the_host_that_httpx_and_urllib_use(url: str) -> None:
    try:
        place = read_url(url)
    except HostError:
        return
    parsed = httpx.URL(url)
    host = place.host.strip("[]")
    assert (parsed.scheme, _normalized(parsed.raw_host.decode())) == (place.scheme, host)
    assert (parsed.port or {"https": 443, "http": 80}[parsed.scheme]) == place.port
    assert parsed.userinfo == b""
    parts = urlsplit(url)
    assert (parts.scheme, _normalized(parts.hostname or "")) == (place.scheme, host)
    assert (parts.port or {"https": 443, "http": 80}[parts.scheme]) == place.port
    assert parts.username is None


@given(HOSTS, HOSTS, strategies.sampled_from(["", ":443", ":8443"]), strategies.sampled_from(["", "/team", "/team/x"]))
def test_a_rule_without_a_wildcard_matches_no_other_host(mine: str, other: str, port: str, path: str) -> None:
    try:
        rule = find(rules_of(f"{mine}{port}{path}"), read_url(f"https://{other}{port}{path}"))
    except HostError:  # a number at the end
        return
    assert (rule is not None) == (mine == other)


@given(strategies.lists(HOSTS, unique=True, max_size=5), strategies.sampled_from(["", "/team"]), HOSTS)
def test_the_best_matching_rule_is_found(hosts: list[str], path: str, host: str) -> None:
    def places(*keys: str) -> list[HostRule]:
        valid: list[HostRule] = []
        for key in keys:
            try:
                valid.extend(rules_of(key))
            except HostError:
                continue
        return valid

    known = places(*hosts, *(f"*.{name}{path}" for name in hosts), *(f"{name}/team" for name in hosts))
    for target in places(host, *(f"x.{name}" for name in hosts), *(f"{name}/team/x" for name in hosts)):
        best = find(known, target.place)
        fitting = [rule for rule in known if rule.fits(target.place)]
        assert (best is None) == (not fitting)
        if best is not None:
            assert best.fits(target.place)
            assert best.rank == max(rule.rank for rule in fitting)
            assert sum(rule.rank == best.rank for rule in fitting) == 1


@given(HOSTS, strategies.text(max_size=10))
def test_a_place_matches_a_rule_of_its_own_origin(host: str, path: str) -> None:
    try:
        place = read_url(f"https://{host}/{path}")
    except HostError:
        return
    assert find([HostRule("key", Place(place.scheme, place.host, place.port), "work")], place) is not None


# ---- user names


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://gcr.io/", "oauth2accesstoken"),
        ("https://eu.gcr.io/", "oauth2accesstoken"),
        ("https://europe-python.pkg.dev/acme/pypi/simple/", "oauth2accesstoken"),
        ("https://quay.io", "$oauthtoken"),
        ("https://bitbucket.org/acme/a.git", "x-token-auth"),
        ("https://notgcr.io/", None),
        ("https://gcr.io.example/", None),
        ("https://ghcr.io/", None),
    ],
)
def test_known_hosts_have_a_user_name_unless_the_rule_has_one(url: str, name: str | None) -> None:
    place = read_url(url)
    assert username(HostRule("key", place, "work"), place) == name
    assert username(HostRule("key", place, "work", username="anna"), place) == "anna"
