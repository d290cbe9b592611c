"""The configuration: the values of each key, and the line and key of each mistake."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from auth_agent import config
from auth_agent.config import DEFAULT_REDIRECT_PORTS, Account, Config, Notify, parse
from auth_agent.errors import ConfigError
from auth_agent.grant_type import AUTHORIZATION_CODE
from auth_agent.urls import check_issuer, check_url
from auth_agent_client.remedy import set_variable

MINIMAL = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"
"""
ACCOUNT_KEYS = (
    *("issuer", "client_id", "default", "audience", "scope", "redirect_ports", "proxy", "authorize", "grant"),
    *("redirect_host", "redirect_path", "token_endpoint_auth_method", "management_account", "management_audience"),
)
HOST_KEYS = ("account", "audience", "scope")
# Lines that break a rule each.
STRING = "scope = 1"
PORTS = "redirect_ports = 1"
REDIRECT_HOST = "redirect_host = 1"
REDIRECT_PATH = "redirect_path = 1"
TABLE_OF_STRINGS = "authorize = 1"
GRANT = "grant = 1"
METHOD = "token_endpoint_auth_method = 1"
PROXY = 'proxy = "x"'
API = 'management_audience = "https://acme.example"'
BOOLEAN = "default = 1"
NAME = "management_account = 1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(path: Path, text: str) -> Config:
    path.write_text(text, "utf-8")
    return config.load(path)


def account(path: Path, line: str = "") -> Account:
    """Return the account of a valid file with that additional line."""
    return read(path, f"{MINIMAL}{line}\n").accounts["work"]


class Mistake(NamedTuple):
    line: int | None
    key: str
    rule: str  # the sentence: tests/test_wording.py has an example of each


def mistake_in(path: Path, text: str) -> Mistake:
    """Return the mistake in an invalid file."""
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    parts = re.fullmatch(r"(?::([0-9]+))?: (.+?): (.+)", str(raised.value).removeprefix(str(path)))
    assert parts is not None, raised.value
    return Mistake(int(parts[1]) if parts[1] else None, parts[2], parts[3])


def rule_of(path: Path, line: str) -> str:
    """Return the rule that the line breaks."""
    return mistake_in(path, f"{MINIMAL}{line}").rule


def keys_in(rule: str) -> set[str]:
    """Return the keys that a rule names."""
    return set(re.findall(r"[a-z_]+", rule)) & {*ACCOUNT_KEYS, *HOST_KEYS, "accounts", "hosts", "notify"}


# ---- valid files


def test_a_missing_file_has_no_accounts(path: Path) -> None:
    assert config.load(path) == Config(path)
    assert config.load(path).accounts == {}
    assert config.load(path).default is None


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "[accounts]\n", "accounts = {}\n"])
def test_an_empty_file_has_no_accounts(path: Path, text: str) -> None:
    assert read(path, text).accounts == {}


def test_an_account_needs_an_issuer_and_a_client_id_only(path: Path) -> None:
    assert account(path) == Account(
        name="work",
        issuer="https://acme.example/",
        client_id="client",
        default=False,
        audience=None,
        scope="openid profile email offline_access",
        redirect_ports=(48631, 48632, 48633),
        proxy=None,
        authorize={},
        grant_type=AUTHORIZATION_CODE,
        token_endpoint_auth_method=None,
    )
    assert (account(path).scope, account(path).redirect_ports) == (
        AUTHORIZATION_CODE.default_scope,
        DEFAULT_REDIRECT_PORTS,
    )


def test_every_key_is_read(path: Path) -> None:
    text = """
    [accounts.work]
    issuer = "https://acme.example/tenant"
    client_id = "client"
    default = true
    audience = "https://api.acme.example"
    scope = "openid  offline_access"
    redirect_ports = [0, 65535]
    redirect_host = "localhost"
    redirect_path = "/oauth2/a%20b"
    proxy = "http://proxy.example:3128"
    authorize = { organization = "org_1", prompt = "login" }
    grant = "authorization_code"
    token_endpoint_auth_method = "client_secret_post"
    management_account = "work.users"
    management_audience = "https://acme.eu.auth0.com/api/v2/"
    authorization_endpoint = "https://login.example/authorize"
    token_endpoint = "https://acme.example/token"
    device_authorization_endpoint = "https://acme.example/device"
    revocation_endpoint = "https://acme.example/revoke"
    userinfo_endpoint = "https://api.example/user"
    jwks_uri = "https://keys.example/jwks"
    id_token_signed_response_alg = "HS256"
    """
    assert read(path, text).accounts["work"] == Account(
        name="work",
        issuer="https://acme.example/tenant",
        client_id="client",
        default=True,
        audience="https://api.acme.example",
        scope="openid offline_access",
        redirect_ports=(0, 65535),
        redirect_host="localhost",
        redirect_path="/oauth2/a%20b",
        proxy="http://proxy.example:3128",
        authorize={"organization": "org_1", "prompt": "login"},
        grant_type=AUTHORIZATION_CODE,
        token_endpoint_auth_method="client_secret_post",
        management_account="work.users",
        management_audience="https://acme.eu.auth0.com/api/v2/",
        authorization_endpoint="https://login.example/authorize",
        token_endpoint="https://acme.example/token",
        device_authorization_endpoint="https://acme.example/device",
        revocation_endpoint="https://acme.example/revoke",
        userinfo_endpoint="https://api.example/user",
        jwks_uri="https://keys.example/jwks",
        id_token_signed_response_alg="HS256",
        names_scope=True,
    )


def test_the_endpoints_of_an_account_have_the_names_of_the_metadata(path: Path) -> None:
    assert account(path).endpoints == {}
    named = account(path, 'jwks_uri = "https://keys.example/jwks"\ntoken_endpoint = "https://ACME.example/token"')
    assert named.endpoints == {
        "token_endpoint": "https://ACME.example/token",
        "jwks_uri": "https://keys.example/jwks",
    }


@pytest.mark.parametrize("key", ["token_endpoint", "revocation_endpoint", "device_authorization_endpoint"])
@pytest.mark.parametrize(
    "url",
    ["https://evil.example/x", "https://acme.example:8443/x", "https://x.acme.example", "https://acme.example/#a"],
)
def test_a_refresh_token_goes_to_the_issuers_host_only(path: Path, key: str, url: str) -> None:
    mistake = mistake_in(path, f'{MINIMAL}{key} = "{url}"')
    assert (mistake.line, mistake.key) == (5, f"accounts.work.{key}")


@pytest.mark.parametrize("key", ["authorization_endpoint", "userinfo_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ["http://acme.example/x", "http://127.0.0.1/x", "acme.example", "https://a@b.example"])
def test_an_endpoint_is_https_where_the_issuer_is(path: Path, key: str, url: str) -> None:
    mistake = mistake_in(path, f'{MINIMAL}{key} = "{url}"')
    assert (mistake.line, mistake.key) == (5, f"accounts.work.{key}")


def test_an_endpoint_on_this_machine_is_one_of_an_issuer_on_it(path: Path) -> None:
    keys = 'issuer = "http://127.0.0.1:3000"\nclient_id = "c"\ntoken_endpoint = "http://127.0.0.1:3000/token"'
    found = read(path, f"[accounts.work]\n{keys}").accounts["work"]
    assert found.token_endpoint == "http://127.0.0.1:3000/token"


@pytest.mark.parametrize(
    ("keys", "is_default"),
    [("", True), (f'scope = "{AUTHORIZATION_CODE.default_scope}"', False), ('scope = "openid"', False)],
)
def test_a_scope_that_the_file_names_is_not_the_default_one(path: Path, keys: str, is_default: bool) -> None:
    assert account(path, keys).has_default_scope is is_default


def test_a_client_credentials_account_requests_no_scope_by_default(path: Path) -> None:
    assert account(path, 'grant = "client_credentials"').scope == ""
    assert account(path, 'grant = "client_credentials"\nscope = "read:all"').scope == "read:all"
    assert account(path, 'grant = "authorization_code"').scope == AUTHORIZATION_CODE.default_scope


def test_a_client_credentials_account_needs_a_secret(path: Path) -> None:
    mistake = mistake_in(path, f'{MINIMAL}grant = "client_credentials"\ntoken_endpoint_auth_method = "none"')
    assert (mistake.line, mistake.key) == (6, "accounts.work.token_endpoint_auth_method")
    assert mistake.rule != rule_of(path, METHOD)
    assert account(path, 'token_endpoint_auth_method = "none"').token_endpoint_auth_method == "none"


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL,
        '[accounts]\nwork = { issuer = "https://acme.example/", client_id = "client" }',
        '[accounts]\nwork.issuer = "https://acme.example/"\nwork.client_id = "client"',
        'accounts.work.issuer = "https://acme.example/"\naccounts.work.client_id = "client"',
        'accounts = { work = { issuer = "https://acme.example/", client_id = "client" } }',
        '["accounts".\'work\']\n"issuer" = "https://acme.example/"\n\'client_id\' = "client"',
    ],
)
def test_every_form_of_an_account_in_toml_is_the_same_account(path: Path, text: str) -> None:
    assert read(path, text).accounts == {"work": account(path)}


def test_authorize_may_be_a_separate_table(path: Path) -> None:
    assert account(path, '[accounts.work.authorize]\nprompt = "login"').authorize == {"prompt": "login"}


def test_accounts_keep_the_order_of_the_file(path: Path) -> None:
    text = "".join(f'[accounts.{name}]\nissuer = "https://a.example"\nclient_id = "c"\n' for name in "zax")
    assert list(read(path, text).accounts) == ["z", "a", "x"]


def test_the_same_file_gives_equal_values(path: Path) -> None:
    line = 'authorize = { prompt = "login" }'
    assert account(path, line) == account(path, line)
    assert account(path, line) != account(path, 'authorize = { prompt = "none" }')


def test_a_configuration_is_immutable(path: Path) -> None:
    loaded: Any = read(path, MINIMAL)  # without static types, which would forbid it
    with pytest.raises(AttributeError):
        loaded.accounts["work"].issuer = "https://other.example"
    with pytest.raises(TypeError):
        loaded.accounts["other"] = loaded.accounts["work"]
    with pytest.raises(TypeError):
        loaded.accounts["work"].authorize["prompt"] = "none"


def test_the_repr_of_an_account_contains_no_proxy_password(path: Path) -> None:
    read_account = account(path, 'proxy = "http://user:hunter2@proxy.example:3128"')
    assert read_account.proxy == "http://user:hunter2@proxy.example:3128"
    assert "hunter2" not in repr(read_account)
    assert "hunter2" not in repr(read(path, path.read_text("utf-8")))


# ---- the default


def test_the_only_account_is_the_default(path: Path) -> None:
    loaded = read(path, MINIMAL)
    assert loaded.default == loaded.accounts["work"]


def test_of_several_accounts_the_one_with_default_is_the_default(path: Path) -> None:
    loaded = read(path, f"{MINIMAL}{MINIMAL.replace('work', 'home')}default = true\n")
    assert loaded.default == loaded.accounts["home"]


def test_of_several_accounts_without_default_none_is_the_default(path: Path) -> None:
    assert read(path, f"{MINIMAL}{MINIMAL.replace('work', 'home')}").default is None


SERVED = f"{MINIMAL}management_account = 'users'\n{MINIMAL.replace('work', 'users')}"


def test_an_account_that_serves_another_one_does_not_count_as_a_second_one(path: Path) -> None:
    found = read(path, SERVED)
    assert found.default == found.accounts["work"]
    assert (found.managed_by("users"), found.managed_by("work")) == (("work",), ())
    assert read(path, f"{SERVED}{MINIMAL.replace('work', 'home')}").default is None


def test_an_account_that_serves_another_one_is_the_default_if_it_is_marked_so(path: Path) -> None:
    found = read(path, f"{SERVED}default = true\n")
    assert found.default == found.accounts["users"]


def test_the_only_account_is_the_default_though_it_serves_itself(path: Path) -> None:
    found = read(path, f"{MINIMAL}management_account = 'work'\n")
    assert found.default == found.accounts["work"]
    assert found.managed_by("work") == ()


def test_two_accounts_that_serve_each_other_have_no_default(path: Path) -> None:
    assert read(path, f"{SERVED}management_account = 'work'\n").default is None


def test_two_defaults_are_a_mistake_that_names_both(path: Path) -> None:
    text = f"{MINIMAL}default = true\n{MINIMAL.replace('work', 'home')}default = true\n"
    mistake = mistake_in(path, text)
    assert (mistake.line, mistake.key) == (10, "accounts.home.default")
    assert "work" in mistake.rule


# ---- names


@pytest.mark.parametrize("name", ["work", "A", "0", "a-b_c", '"a.b"', '"auth0|x"'.replace("|", "."), "x" * 64])
def test_an_account_name_has_letters_digits_and_three_marks(path: Path, name: str) -> None:
    assert list(read(path, MINIMAL.replace("work", name)).accounts) == [name.strip('"')]


@pytest.mark.parametrize("name", ['""', '"a b"', '"a/b"', '"ä"', '"a\\nb"', "x" * 65, '"../x"', '"a@b"'])
def test_an_invalid_account_name_is_a_mistake(path: Path, name: str) -> None:
    assert mistake_in(path, MINIMAL.replace("work", name)).rule.endswith("1 to 64 of A-Z a-z 0-9 . _ -")


# ---- unknown keys, and where they are


@pytest.mark.parametrize(
    ("text", "line", "key", "named"),
    [
        (f'{MINIMAL}audiance = "x"', 5, "accounts.work.audiance", {"audience"}),
        (f'{MINIMAL}"scopes" = "x"', 5, "accounts.work.scopes", {"scope"}),
        (f"{MINIMAL}Default = true", 5, "accounts.work.Default", {"default"}),
        (
            f'# accounts.work.isuer\n{MINIMAL}# isuer = 1\n  isuer  =  "x"',
            7,
            "accounts.work.isuer",
            {"issuer"},
        ),
        (
            '[accounts]\nhome.issuer = "https://a.example"\nhome.client_id = "c"\nhome.scop = "x"',
            4,
            "accounts.home.scop",
            {"scope"},
        ),
        (
            '\naccounts.home.issuer = "https://a.example"\naccounts . home . clientid = "c"',
            3,
            "accounts.home.clientid",
            {"client_id"},
        ),
        (
            '[accounts]\n\nhome = { issuer = "https://a.example", clientid = "c" }',
            3,
            "accounts.home.clientid",
            {"client_id"},
        ),
        (
            'accounts = { home = { issuer = "https://a.example", clientid = "c" } }',
            1,
            "accounts.home.clientid",
            {"client_id"},
        ),
        (
            f"{MINIMAL}{MINIMAL.replace('work', 'home')}proxi = 1",
            9,
            "accounts.home.proxi",
            {"proxy"},
        ),
        (
            f"{MINIMAL}[accounts.work.authorise]\nprompt = 'x'",
            5,
            "accounts.work.authorise",
            {"authorize"},
        ),
        ('\nacounts = "x"', 2, "acounts", {"accounts"}),
        ("[account]", 1, "account", {"accounts"}),
        ("\n[account.work]\nissuer = 'x'", 2, "account", {"accounts"}),
        ("[zzz]", 1, "zzz", {"accounts", "hosts", "notify"}),
    ],
    ids=[
        "header",
        "quoted",
        "case",
        "after comments",
        "dotted",
        "dotted from the top",
        "inline",
        "inline from the top",
        "second table",
        "table below",
        "top",
        "top table",
        "top header of two parts",
        "nothing near",
    ],
)
def test_an_unknown_key_is_a_mistake_with_its_line_and_the_nearest_valid_key(
    path: Path, text: str, line: int, key: str, named: set[str]
) -> None:
    mistake = mistake_in(path, text)
    assert (mistake.line, mistake.key) == (line, key)
    assert keys_in(mistake.rule) == named


def test_an_unknown_key_unlike_all_others_is_answered_with_all_keys(path: Path) -> None:
    mistake = mistake_in(path, f"{MINIMAL}zzz = 1")
    assert (mistake.line, mistake.key) == (5, "accounts.work.zzz")
    assert keys_in(mistake.rule) == set(ACCOUNT_KEYS)


def test_lines_are_counted_as_editors_count_them(path: Path) -> None:
    # A line separator and a next-line character are letters of a comment to TOML.
    mistake = mistake_in(path, f"# one\u2028and\x85more{MINIMAL}scop = 1")
    assert (mistake.line, mistake.key) == (5, "accounts.work.scop")


def test_a_long_word_in_a_multiline_string_does_not_slow_the_search_for_a_line(path: Path) -> None:
    word = "a" * 60
    path.write_text(f'{MINIMAL}authorize = {{ hint = """\n{word}\n""" }}\nscop = 1\n', "utf-8")
    script = "import sys; from pathlib import Path; from auth_agent import config; config.load(Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(path)]
    # A search that tries all ways would take years.
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert process.stderr.splitlines()[-1].partition(f"{path}:8: accounts.work.scop: ")[1]


# ---- hosts


def test_a_host_has_an_account_and_optionally_an_audience_and_a_scope(path: Path) -> None:
    loaded = read(
        path,
        f"""{MINIMAL}
        [hosts."git.example.com"]
        account = "work"

        [hosts."Git.Example.com:8443/team"]
        account = "work"
        audience = "https://api.acme.example"
        scope = "read  write"
        """,
    )
    assert [(rule.place.origin, rule.account, rule.audience, rule.scope) for rule in loaded.hosts] == [
        ("https://git.example.com", "work", None, None),
        ("https://git.example.com:8443", "work", "https://api.acme.example", "read write"),
    ]
    assert [rule.key for rule in loaded.hosts_of("work")] == ["git.example.com", "Git.Example.com:8443/team"]
    assert loaded.hosts_of("home") == ()


def test_a_host_may_have_a_rule_for_each_directory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    rules = "".join(
        f'[[hosts."git.example.com"]]\naccount = "work"\n{line}\n'
        for line in ("", 'directory = "~/link/acme/"', 'directory = "/srv/acme"')
    )
    real = tmp_path.resolve() / "real" / "acme"
    loaded = read(path, f"{MINIMAL}\n{rules}")
    assert [(rule.key, rule.directory) for rule in loaded.hosts] == [
        ("git.example.com", None),
        ("git.example.com", str(real)),
        ("git.example.com", "/srv/acme"),
    ]


@pytest.mark.parametrize("text", ["", "[hosts]\n", "hosts = {}\n"])
def test_a_file_may_have_no_hosts(path: Path, text: str) -> None:
    assert read(path, text).hosts == ()


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ("hosts = 7", 1, "hosts", "table"),
        ('[hosts]\n"a.example" = "work"', 2, "hosts.a.example", "table"),
        ('[hosts."a.example"]', 1, "hosts.a.example", "account"),
        ('[hosts."a.example"]\naccount = "home"', 2, "hosts.a.example.account", "home"),
        ('[hosts."a.example"]\naccount = ["work"]', 2, "hosts.a.example.account", "string"),
        ('[hosts."a.example"]\naccount = "work"\naudience = ""', 3, "hosts.a.example.audience", "string"),
        ('[hosts."a.example"]\naccount = "work"\nscope = 7', 3, "hosts.a.example.scope", "string"),
        ('[hosts."a.example"]\nacount = "work"', 2, "hosts.a.example.acount", "account"),
        (
            '[hosts."a.example"]\naccount = "work"\nfolder = "~/src"',
            *(3, "hosts.a.example.folder", "account, audience, scope, username, directory"),
        ),
        ('[hosts."a.example"]\naccount = "work"\ndirectory = "src"', 3, "hosts.a.example.directory", "absolute"),
        ('[hosts."a.example"]\naccount = "work"\ndirectory = "~nobody-here/"', 3, "hosts.a.example.directory", "user"),
        (
            '[[hosts."a.example"]]\naccount = "work"\ndirectory = "/src"\n' * 2,
            *(1, "hosts.a.example", "directory"),
        ),
        (
            '[[hosts."a.example"]]\naccount = "work"\n[[hosts."a.example"]]\naccount = "work"',
            1,
            "hosts.a.example",
            "one",
        ),
        ('[hosts.git.example]\naccount = "work"', 1, "hosts.git", '[hosts."git.example"]'),
        ('[hosts."http://a.example"]\naccount = "work"', 1, "hosts.http://a.example", "https://"),
        (
            '[hosts."a.example"]\naccount = "work"\n[hosts."https://A.example.:443/"]\naccount = "work"',
            *(3, "hosts.https://A.example.:443/", "a.example"),
        ),
    ],
)
def test_a_mistake_among_the_hosts_has_its_line(path: Path, text: str, line: int, key: str, part: str) -> None:
    accounts = "accounts.work = { issuer = 'https://acme.example/', client_id = 'client' }"
    # After the text if that ends in a table, so that the lines stay.
    mistake = mistake_in(path, f"{text}\n{MINIMAL}" if text.startswith("[") else f"{text}\n{accounts}\n")
    assert (mistake.line, mistake.key) == (line, key)
    assert part in mistake.rule


# ---- wrong values


@pytest.mark.parametrize(
    ("key", "value", "example"),
    [
        *(
            (key, value, STRING)
            for key in ("audience", "scope")
            for value in ("7", "true", "[]", "{}", '""', '"\\u001b"')
        ),
        *(("proxy", value, STRING) for value in ("7", "true", "[]", '""', '"http://a\\n"')),
        *(("proxy", value, PROXY) for value in ('"proxy.example:3128"', '"socks4://proxy.example"', '"ftp://x"')),
        *(("default", value, BOOLEAN) for value in ("1", '"true"', "0", "[]")),
        *(
            ("redirect_ports", value, PORTS)
            for value in ("[]", "48631", '["48631"]', "[true]", "[-1]", "[65536]", "[1.0]", "[[1]]", "{}", '"1"')
        ),
        *(("redirect_host", value, REDIRECT_HOST) for value in ("7", '""', '"::1"', '"Localhost"', '"evil.example"')),
        *(
            ("redirect_path", f'"{value}"', REDIRECT_PATH)
            for value in ("callback", "/a?b", "/a#b", "/é", "/%zz", "/a/../b", "/.", "http://localhost/", "/ ")
        ),
        *(("redirect_path", value, REDIRECT_PATH) for value in ("7", "[]", "true")),
        *(("grant", value, GRANT) for value in ('"password"', '""', "7", "[]", "{}", "true")),
        *(("token_endpoint_auth_method", value, METHOD) for value in ('"private_key_jwt"', '""', "7", "[]")),
        *(("management_account", value, NAME) for value in ('"a b"', '""', "7", "[]")),
        *(("management_audience", value, STRING) for value in ("7", '""', "[]")),
        *(("management_audience", f'"https://x.example/{end}"', API) for end in ("api", "api/?a=b", "api/#a")),
        *(
            ("authorize", value, TABLE_OF_STRINGS)
            for value in ('"x"', "[]", "7", "{ a = 1 }", "{ a = ['x'] }", "{ a = {} }")
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_mistake_with_its_line(path: Path, key: str, value: str, example: str) -> None:
    mistake = mistake_in(path, f"{MINIMAL}{key} = {value}")
    assert mistake == Mistake(5, f"accounts.work.{key}", rule_of(path, example))


@pytest.mark.parametrize("value", ["", "/", "/callback/", "//", "/a:b@c;d=1,2/~e"])
def test_a_redirect_path_may_be_empty(path: Path, value: str) -> None:
    assert account(path, f'redirect_path = "{value}"').redirect_path == value


def test_a_management_audience_over_http_is_a_mistake(path: Path) -> None:
    with pytest.raises(ValueError, match="http://x") as raised:
        check_url("http://x.example/api/v2/")
    mistake = mistake_in(path, f'{MINIMAL}management_audience = "http://x.example/api/v2/"')
    assert mistake == Mistake(5, "accounts.work.management_audience", str(raised.value))


@pytest.mark.parametrize("value", ["7", "true", "[]", "{}", '""', '"a\\nb"', "1979-05-27"])
def test_an_issuer_or_client_id_of_the_wrong_kind_is_a_mistake(path: Path, value: str) -> None:
    wrong = MINIMAL.replace('"https://acme.example/"', value)
    assert mistake_in(path, wrong) == Mistake(3, "accounts.work.issuer", rule_of(path, STRING))
    wrong = MINIMAL.replace('"client"', value)
    assert mistake_in(path, wrong) == Mistake(4, "accounts.work.client_id", rule_of(path, STRING))


@pytest.mark.parametrize("issuer", ["http://acme.example/", "acme.example", "https://", "https://acme.example/?x=1"])
def test_an_invalid_issuer_is_a_mistake(path: Path, issuer: str) -> None:
    text = MINIMAL.replace("https://acme.example/", issuer)
    with pytest.raises(ValueError, match=re.escape(repr(issuer))) as raised:
        check_issuer(issuer)
    assert mistake_in(path, text) == Mistake(3, "accounts.work.issuer", str(raised.value))


def test_a_mistake_about_a_proxy_does_not_repeat_its_password(path: Path) -> None:
    assert "hunter2" not in rule_of(path, 'proxy = "socks4://user:hunter2@proxy.example"')


@pytest.mark.parametrize("proxy", ["http://proxy.example:port", "http://", "http://proxy.example:99999"])
def test_a_proxy_url_without_a_valid_host_and_port_is_a_mistake(path: Path, proxy: str) -> None:
    mistake = mistake_in(path, f'{MINIMAL}proxy = "{proxy}"')
    assert mistake == Mistake(5, "accounts.work.proxy", rule_of(path, PROXY))


@pytest.mark.parametrize("key", ["scope", "audience"])
def test_a_string_of_spaces_is_a_mistake(path: Path, key: str) -> None:
    mistake = mistake_in(path, f'{MINIMAL}{key} = "  "')
    assert mistake == Mistake(5, f"accounts.work.{key}", rule_of(path, STRING))


def test_a_wrong_value_under_a_dotted_key_has_its_line(path: Path) -> None:
    mistake = mistake_in(path, f"{MINIMAL}authorize.prompt = 1")
    assert mistake == Mistake(5, "accounts.work.authorize", rule_of(path, TABLE_OF_STRINGS))


@pytest.mark.parametrize(
    ("text", "line", "missing"),
    [
        ('\n[accounts.work]\nissuer = "https://a.example"', 2, "client_id"),
        ('\n[accounts.work]\nclient_id = "c"', 2, "issuer"),
        ("[accounts]\nwork = {}", 2, "issuer"),
        ('[accounts]\nwork.client_id = "c"', 2, "issuer"),
        ('\naccounts.work.client_id = "c"', 2, "issuer"),
    ],
    ids=["no client_id", "no issuer", "inline", "dotted", "dotted from the top"],
)
def test_a_missing_key_is_a_mistake_of_its_table(path: Path, text: str, line: int, missing: str) -> None:
    mistake = mistake_in(path, text)
    assert (mistake.line, mistake.key) == (line, "accounts.work")
    assert keys_in(mistake.rule) == {missing}


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("accounts = 7", 1, "accounts"),
        ("[[accounts]]", 1, "accounts"),
        ('[accounts]\nwork = "x"', 2, "accounts.work"),
        ("[[accounts.work]]", 1, "accounts.work"),
    ],
)
def test_a_value_in_place_of_a_table_is_a_mistake(path: Path, text: str, line: int, key: str) -> None:
    mistake = mistake_in(path, text)
    assert mistake == Mistake(line, key, mistake_in(path, "hosts = 7").rule)


# ---- files that can't be read


@pytest.mark.parametrize("text", ["[accounts", "[accounts.work]\nissuer = https://a", "a = 1\na = 2", "x = 1979-02-31"])
def test_invalid_toml_is_a_mistake_with_its_position(path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    assert str(raised.value).startswith(f"{path}: ")
    assert re.search(r"\(at (line [0-9]+|end of document)", str(raised.value)) is not None


@pytest.mark.parametrize(
    "text",
    [f"x = {'[' * 5000}{']' * 5000}", f"x = {'1' * 5000}"],
    ids=["a thousand lists deep", "a number of thousands of digits"],
)
def test_toml_beyond_pythons_limits_is_a_mistake(path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_that_is_not_utf_8_is_a_mistake(path: Path) -> None:
    path.write_bytes(b"# \xff\xfe\n")
    with pytest.raises(ConfigError, match="can't be read: it is not UTF-8"):
        config.load(path)


def test_a_directory_in_place_of_the_file_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    assert str(raised.value).startswith(f"{path} ")


def test_a_path_below_a_file_is_an_error_of_the_variable_that_chose_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path))
    monkeypatch.delenv("AUTH_AGENT_CONFIG", raising=False)
    with pytest.raises(ConfigError) as raised:
        config.load(path / "auth-agent" / "config.toml")
    assert str(raised.value).startswith(f"{path / 'auth-agent' / 'config.toml'} ")
    assert raised.value.remedy == (set_variable("XDG_CONFIG_HOME"),)


def test_crlf_ends_a_line(path: Path) -> None:
    path.write_bytes(f"{MINIMAL}scop = 1\n".replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=r":5: accounts\.work\.scop: "):
        config.load(path)


def test_text_and_tables_are_checked_as_a_file_is(path: Path) -> None:
    assert config.parse(path, MINIMAL) == read(path, MINIMAL)
    with pytest.raises(ConfigError, match=r"config\.toml: accounts\.work: client_id "):
        config.check(path, {"accounts": {"work": {"issuer": "https://acme.example/"}}})


# ---- where the file is


def test_auth_agent_config_is_the_path_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_CONFIG", "/etc/somewhere.toml")
    assert config.config_path() == Path("/etc/somewhere.toml")


def test_a_relative_path_of_the_file_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTH_AGENT_CONFIG", "my.toml")
    monkeypatch.chdir(tmp_path)
    assert config.config_path() == tmp_path / "my.toml"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps configuration elsewhere")
@pytest.mark.parametrize("variable", [None, ""])
def test_without_auth_agent_config_the_file_is_in_the_users_configuration_directory(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.delenv("AUTH_AGENT_CONFIG", raising=False)
    if variable is not None:
        monkeypatch.setenv("AUTH_AGENT_CONFIG", variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/anna/.config")
    assert config.config_path() == Path("/home/anna/.config/auth-agent/config.toml")


# ---- how a person is notified


@pytest.mark.parametrize(
    ("text", "notify"),
    [
        ("", Notify()),
        ("[notify]", Notify()),
        ("[notify]\ndesktop = false", Notify(desktop=False)),
        ('[notify]\ncommand = ["notify-me", ""]', Notify(command=("notify-me", ""))),
    ],
)
def test_how_a_person_is_notified_can_be_chosen(path: Path, text: str, notify: Notify) -> None:
    assert parse(path, text).notify == notify


@pytest.mark.parametrize(
    "text",
    [
        "notify = 1",
        "[notify]\nsound = true",
        '[notify]\ndesktop = "no"',
        '[notify]\ncommand = "notify-me"',
        "[notify]\ncommand = []",
        '[notify]\ncommand = [""]',
        "[notify]\ncommand = [1]",
        '[notify]\ncommand = ["a\\u0000b"]',
    ],
)
def test_a_mistake_in_the_table_of_notifications_names_it(path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="notify"):
        parse(path, text)


# ---- files with certificates

WORK = '[accounts.work]\nissuer = "https://acme.example/"\nclient_id = "app"\n'


def test_a_relative_path_is_beside_the_configuration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    text = f'{WORK}ca_file = "ca.pem"\nclient_certificate = "~/client.pem"\nclient_key = "/etc/client.key"'
    account = parse(path, text).accounts["work"]
    assert account.ca_file == str(path.absolute().parent / "ca.pem")
    assert (account.client_certificate, account.client_key) == ("/home/anna/client.pem", "/etc/client.key")


@pytest.mark.parametrize(
    "line",
    [
        'client_key = "client.key"',
        'token_endpoint_auth_method = "tls_client_auth"',
        'token_endpoint_auth_method = "self_signed_tls_client_auth"',
        'ca_file = ""',
        "client_certificate = 1",
    ],
)
def test_a_mistake_about_certificates_names_its_key(path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=line.split(maxsplit=1)[0]):
        parse(path, WORK + line)
