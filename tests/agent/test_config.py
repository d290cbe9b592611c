"""The configuration: what each key takes, and where a mistake is said to be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auth_agent import config
from auth_agent.config import DEFAULT_REDIRECT_PORTS, Account, Config, Notify, parse
from auth_agent.errors import ConfigError
from auth_agent.grant_type import AUTHORIZATION_CODE

MINIMAL = """
[accounts.work]
issuer = "https://acme.example/"
client_id = "client"
"""
TEXT = "must be a non-empty string without control characters"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(path: Path, text: str) -> Config:
    path.write_text(text, "utf-8")
    return config.load(path)


def account(path: Path, line: str = "") -> Account:
    """The account of a file that is right but for, perhaps, that line."""
    return read(path, f"{MINIMAL}{line}\n").accounts["work"]


def complaint(path: Path, text: str) -> str:
    """What is said of a file with a mistake, without the file's path."""
    with pytest.raises(ConfigError) as raised:
        read(path, text)
    return str(raised.value).replace(str(path), "FILE")


# ---- what is read


def test_a_file_that_is_not_there_has_no_accounts(path: Path) -> None:
    assert config.load(path) == Config(path)
    assert config.load(path).accounts == {}
    assert config.load(path).default is None


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "[accounts]\n", "accounts = {}\n"])
def test_a_file_with_nothing_in_it_has_no_accounts(path: Path, text: str) -> None:
    assert read(path, text).accounts == {}


def test_an_account_needs_an_issuer_and_a_client_and_has_defaults_for_the_rest(path: Path) -> None:
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
    proxy = "http://proxy.example:3128"
    authorize = { organization = "org_1", prompt = "login" }
    grant = "authorization_code"
    token_endpoint_auth_method = "client_secret_post"
    management_account = "work.users"
    management_audience = "https://acme.eu.auth0.com/api/v2/"
    """
    assert read(path, text).accounts["work"] == Account(
        name="work",
        issuer="https://acme.example/tenant",
        client_id="client",
        default=True,
        audience="https://api.acme.example",
        scope="openid offline_access",
        redirect_ports=(0, 65535),
        proxy="http://proxy.example:3128",
        authorize={"organization": "org_1", "prompt": "login"},
        grant_type=AUTHORIZATION_CODE,
        token_endpoint_auth_method="client_secret_post",
        management_account="work.users",
        management_audience="https://acme.eu.auth0.com/api/v2/",
    )


def test_a_client_that_stands_for_itself_asks_for_no_scope_unless_it_is_told_to(path: Path) -> None:
    assert account(path, 'grant = "client_credentials"').scope == ""
    assert account(path, 'grant = "client_credentials"\nscope = "read:all"').scope == "read:all"
    assert account(path, 'grant = "authorization_code"').scope == AUTHORIZATION_CODE.default_scope


def test_a_client_that_stands_for_itself_has_a_secret(path: Path) -> None:
    assert complaint(path, f'{MINIMAL}grant = "client_credentials"\ntoken_endpoint_auth_method = "none"') == (
        "FILE:6: accounts.work.token_endpoint_auth_method: can't be none with grant = client_credentials, "
        "where the client has a secret"
    )
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
def test_every_way_to_write_an_account_in_toml_is_the_same_account(path: Path, text: str) -> None:
    assert read(path, text).accounts == {"work": account(path)}


def test_authorize_may_be_a_table_of_its_own(path: Path) -> None:
    assert account(path, '[accounts.work.authorize]\nprompt = "login"').authorize == {"prompt": "login"}


def test_accounts_keep_the_order_of_the_file(path: Path) -> None:
    text = "".join(f'[accounts.{name}]\nissuer = "https://a.example"\nclient_id = "c"\n' for name in "zax")
    assert list(read(path, text).accounts) == ["z", "a", "x"]


def test_reading_the_same_file_twice_makes_equal_values(path: Path) -> None:
    line = 'authorize = { prompt = "login" }'
    assert account(path, line) == account(path, line)
    assert account(path, line) != account(path, 'authorize = { prompt = "none" }')


def test_what_was_read_can_not_be_changed(path: Path) -> None:
    found: Any = read(path, MINIMAL)  # it must fail where nobody checks types, too
    with pytest.raises(AttributeError):
        found.accounts["work"].issuer = "https://other.example"
    with pytest.raises(TypeError):
        found.accounts["other"] = found.accounts["work"]
    with pytest.raises(TypeError):
        found.accounts["work"].authorize["prompt"] = "none"


def test_the_repr_of_an_account_shows_no_password_of_a_proxy(path: Path) -> None:
    found = account(path, 'proxy = "http://user:hunter2@proxy.example:3128"')
    assert found.proxy == "http://user:hunter2@proxy.example:3128"
    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(read(path, path.read_text("utf-8")))


# ---- the default


def test_the_only_account_is_the_default(path: Path) -> None:
    found = read(path, MINIMAL)
    assert found.default == found.accounts["work"]


def test_of_several_accounts_the_one_marked_so_is_the_default(path: Path) -> None:
    found = read(path, f"{MINIMAL}{MINIMAL.replace('work', 'home')}default = true\n")
    assert found.default == found.accounts["home"]


def test_of_several_accounts_none_is_the_default_when_none_is_marked(path: Path) -> None:
    assert read(path, f"{MINIMAL}{MINIMAL.replace('work', 'home')}").default is None


def test_two_defaults_are_a_mistake_that_names_both(path: Path) -> None:
    text = f"{MINIMAL}default = true\n{MINIMAL.replace('work', 'home')}default = true\n"
    assert complaint(path, text) == (
        "FILE:10: accounts.home.default: work is the default account already; there can be one"
    )


# ---- names


@pytest.mark.parametrize("name", ["work", "A", "0", "a-b_c", '"a.b"', '"auth0|x"'.replace("|", "."), "x" * 64])
def test_an_account_s_name_may_have_letters_digits_and_three_marks(path: Path, name: str) -> None:
    assert list(read(path, MINIMAL.replace("work", name)).accounts) == [name.strip('"')]


@pytest.mark.parametrize("name", ['""', '"a b"', '"a/b"', '"ä"', '"a\\nb"', "x" * 65, '"../x"', '"a@b"'])
def test_another_account_s_name_is_a_mistake(path: Path, name: str) -> None:
    said = complaint(path, MINIMAL.replace("work", name))
    assert said.startswith("FILE:")
    assert said.endswith("can't be an account's name: 1 to 64 of A-Z a-z 0-9 . _ -")


# ---- unknown keys, and where they are


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{MINIMAL}audiance = "x"', "FILE:5: accounts.work.audiance: unknown key; did you mean audience?"),
        (f'{MINIMAL}"scopes" = "x"', "FILE:5: accounts.work.scopes: unknown key; did you mean scope?"),
        (f"{MINIMAL}Default = true", "FILE:5: accounts.work.Default: unknown key; did you mean default?"),
        (
            f'# accounts.work.isuer\n{MINIMAL}# isuer = 1\n  isuer  =  "x"',
            "FILE:7: accounts.work.isuer: unknown key; did you mean issuer?",
        ),
        (
            '[accounts]\nhome.issuer = "https://a.example"\nhome.client_id = "c"\nhome.scop = "x"',
            "FILE:4: accounts.home.scop: unknown key; did you mean scope?",
        ),
        (
            '\naccounts.home.issuer = "https://a.example"\naccounts . home . clientid = "c"',
            "FILE:3: accounts.home.clientid: unknown key; did you mean client_id?",
        ),
        (
            '[accounts]\n\nhome = { issuer = "https://a.example", clientid = "c" }',
            "FILE:3: accounts.home.clientid: unknown key; did you mean client_id?",
        ),
        (
            'accounts = { home = { issuer = "https://a.example", clientid = "c" } }',
            "FILE:1: accounts.home.clientid: unknown key; did you mean client_id?",
        ),
        (
            f"{MINIMAL}{MINIMAL.replace('work', 'home')}proxi = 1",
            "FILE:9: accounts.home.proxi: unknown key; did you mean proxy?",
        ),
        (
            f"{MINIMAL}[accounts.work.authorise]\nprompt = 'x'",
            "FILE:5: accounts.work.authorise: unknown key; did you mean authorize?",
        ),
        ('\nacounts = "x"', "FILE:2: acounts: unknown key; did you mean accounts?"),
        ("[account]", "FILE:1: account: unknown key; did you mean accounts?"),
        ("\n[account.work]\nissuer = 'x'", "FILE:2: account: unknown key; did you mean accounts?"),
        ("[zzz]", "FILE:1: zzz: unknown key; known are: accounts, hosts, notify"),
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
def test_an_unknown_key_is_a_mistake_with_its_line_and_the_nearest_right_one(path: Path, text: str, said: str) -> None:
    assert complaint(path, text) == said


def test_an_unknown_key_near_none_names_all(path: Path) -> None:
    assert complaint(path, f"{MINIMAL}zzz = 1") == (
        "FILE:5: accounts.work.zzz: unknown key; known are: "
        "issuer, client_id, default, audience, scope, redirect_ports, proxy, authorize, "
        "grant, token_endpoint_auth_method, management_account, management_audience"
    )


def test_a_line_is_counted_as_editors_count(path: Path) -> None:
    # A line separator and a next-line character are letters of a comment to TOML.
    assert complaint(path, f"# one\u2028and\x85more{MINIMAL}scop = 1") == (
        "FILE:5: accounts.work.scop: unknown key; did you mean scope?"
    )


def test_a_long_word_in_a_text_of_several_lines_does_not_hold_the_search_up(path: Path) -> None:
    word = "a" * 60
    path.write_text(f'{MINIMAL}authorize = {{ hint = """\n{word}\n""" }}\nscop = 1\n', "utf-8")
    script = "import sys; from pathlib import Path; from auth_agent import config; config.load(Path(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3)
    except subprocess.TimeoutExpired:
        pytest.fail("after 3 s it still searches")
    assert done.stderr.splitlines()[-1].endswith(":8: accounts.work.scop: unknown key; did you mean scope?")


# ---- hosts

NO_KEY = "can't be a host, with a port and a path where they matter"


def test_a_host_names_an_account_and_perhaps_an_audience_and_scopes(path: Path) -> None:
    found = read(
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
    assert [(rule.place.origin, rule.account, rule.audience, rule.scope) for rule in found.hosts] == [
        ("https://git.example.com", "work", None, None),
        ("https://git.example.com:8443", "work", "https://api.acme.example", "read write"),
    ]
    assert [rule.key for rule in found.hosts_of("work")] == ["git.example.com", "Git.Example.com:8443/team"]
    assert found.hosts_of("home") == ()


@pytest.mark.parametrize("text", ["", "[hosts]\n", "hosts = {}\n"])
def test_a_file_may_have_no_hosts(path: Path, text: str) -> None:
    assert read(path, text).hosts == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts = 7", "FILE:1: hosts: must be a table"),
        ('[hosts]\n"a.example" = "work"', "FILE:2: hosts.a.example: must be a table"),
        ('[hosts."a.example"]', "FILE:1: hosts.a.example: account is missing"),
        (
            '[hosts."a.example"]\naccount = "home"',
            "FILE:2: hosts.a.example.account: there is no account home in this file",
        ),
        ('[hosts."a.example"]\naccount = ["work"]', f"FILE:2: hosts.a.example.account: {TEXT}"),
        ('[hosts."a.example"]\naccount = "work"\naudience = ""', f"FILE:3: hosts.a.example.audience: {TEXT}"),
        ('[hosts."a.example"]\naccount = "work"\nscope = 7', f"FILE:3: hosts.a.example.scope: {TEXT}"),
        (
            '[hosts."a.example"]\nacount = "work"',
            "FILE:2: hosts.a.example.acount: unknown key; did you mean account?",
        ),
        (
            '[hosts."a.example"]\naccount = "work"\ndirectory = "~/src"',
            "FILE:3: hosts.a.example.directory: unknown key; known are: account, audience, scope",
        ),
        ('[hosts.git.example]\naccount = "work"', 'FILE:1: hosts.git: a host must be in quotes: [hosts."git.example"]'),
        (
            '[hosts."http://a.example"]\naccount = "work"',
            f"FILE:1: hosts.http://a.example: {NO_KEY}: it must begin with https:// (http:// is for this machine only)",
        ),
        (
            '[hosts."a.example"]\naccount = "work"\n[hosts."https://A.example.:443/"]\naccount = "work"',
            "FILE:3: hosts.https://A.example.:443/: is for the same URLs as a.example; there can be one",
        ),
    ],
)
def test_a_mistake_among_the_hosts_has_its_line(path: Path, text: str, said: str) -> None:
    accounts = "accounts.work = { issuer = 'https://acme.example/', client_id = 'client' }"
    # On the last line where a table follows, since lines are counted.
    file = f"{text}\n{MINIMAL}" if text.startswith("[") else f"{text}\n{accounts}\n"
    assert complaint(path, file) == said


# ---- wrong values

PORTS = "must be a list of ports, 0 to 65535, at least one; 0 stands for any that is free"
TABLE = 'must be a table of strings, such as { prompt = "login" }'
GRANT = "must be one of: authorization_code, client_credentials"
METHOD = "must be one of: none, client_secret_basic, client_secret_post"
PROXY = "must be a proxy's URL, such as http://proxy.example:3128"
API = "must be the API's URL with a slash at its end, such as https://acme.eu.auth0.com/api/v2/"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *(
            (key, value, TEXT)
            for key in ("audience", "scope")
            for value in ("7", "true", "[]", "{}", '""', '"\\u001b"')
        ),
        *(("proxy", value, TEXT) for value in ("7", "true", "[]", '""', '"http://a\\n"')),
        *(("proxy", value, PROXY) for value in ('"proxy.example:3128"', '"socks5://proxy.example"', '"ftp://x"')),
        *(("default", value, "must be true or false") for value in ("1", '"true"', "0", "[]")),
        *(
            ("redirect_ports", value, PORTS)
            for value in ("[]", "48631", '["48631"]', "[true]", "[-1]", "[65536]", "[1.0]", "[[1]]", "{}", '"1"')
        ),
        *(("grant", value, GRANT) for value in ('"password"', '""', "7", "[]", "{}", "true")),
        *(("token_endpoint_auth_method", value, METHOD) for value in ('"private_key_jwt"', '""', "7", "[]")),
        *(("management_account", value, "must be the name of an account") for value in ('"a b"', '""', "7", "[]")),
        *(("management_audience", value, TEXT) for value in ("7", '""', "[]")),
        *(("management_audience", f'"https://x.example/{end}"', API) for end in ("api", "api/?a=b", "api/#a")),
        (
            "management_audience",
            '"http://x.example/api/v2/"',
            "'http://x.example/api/v2/' must begin with https:// (http:// is for this machine only)",
        ),
        *(("authorize", value, TABLE) for value in ('"x"', "[]", "7", "{ a = 1 }", "{ a = ['x'] }", "{ a = {} }")),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_mistake_with_its_line(path: Path, key: str, value: str, said: str) -> None:
    assert complaint(path, f"{MINIMAL}{key} = {value}") == f"FILE:5: accounts.work.{key}: {said}"


@pytest.mark.parametrize("value", ["7", "true", "[]", "{}", '""', '"a\\nb"', "1979-05-27"])
def test_an_issuer_or_a_client_of_the_wrong_kind_is_a_mistake(path: Path, value: str) -> None:
    wrong = MINIMAL.replace('"https://acme.example/"', value)
    assert complaint(path, wrong) == f"FILE:3: accounts.work.issuer: {TEXT}"
    wrong = MINIMAL.replace('"client"', value)
    assert complaint(path, wrong) == f"FILE:4: accounts.work.client_id: {TEXT}"


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        (
            "http://acme.example/",
            "'http://acme.example/' must begin with https:// (http:// is for this machine only)",
        ),
        ("acme.example", "'acme.example' is not a URL with a host and without a user name"),
        ("https://acme.example/?x=1", "'https://acme.example/?x=1' has a query or a fragment; an issuer has none"),
    ],
)
def test_an_issuer_that_can_not_be_one_is_a_mistake(path: Path, issuer: str, said: str) -> None:
    text = MINIMAL.replace("https://acme.example/", issuer)
    assert complaint(path, text) == f"FILE:3: accounts.work.issuer: {said}"


def test_a_mistake_about_a_proxy_does_not_repeat_its_password(path: Path) -> None:
    assert "hunter2" not in complaint(path, f'{MINIMAL}proxy = "socks5://user:hunter2@proxy.example"')


@pytest.mark.parametrize("proxy", ["http://proxy.example:port", "http://", "http://proxy.example:99999"])
def test_a_proxy_s_address_that_names_no_host_and_port_is_a_mistake(path: Path, proxy: str) -> None:
    assert complaint(path, f'{MINIMAL}proxy = "{proxy}"') == f"FILE:5: accounts.work.proxy: {PROXY}"


@pytest.mark.parametrize("key", ["scope", "audience"])
def test_a_text_of_spaces_only_is_a_mistake(path: Path, key: str) -> None:
    assert complaint(path, f'{MINIMAL}{key} = "  "') == f"FILE:5: accounts.work.{key}: {TEXT}"


def test_the_line_of_a_wrong_value_under_a_dotted_key_is_its_own(path: Path) -> None:
    assert complaint(path, f"{MINIMAL}authorize.prompt = 1") == f"FILE:5: accounts.work.authorize: {TABLE}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n[accounts.work]\nissuer = "https://a.example"', "FILE:2: accounts.work: client_id is missing"),
        ('\n[accounts.work]\nclient_id = "c"', "FILE:2: accounts.work: issuer is missing"),
        ("[accounts]\nwork = {}", "FILE:2: accounts.work: issuer is missing"),
        ('[accounts]\nwork.client_id = "c"', "FILE:2: accounts.work: issuer is missing"),
        ('\naccounts.work.client_id = "c"', "FILE:2: accounts.work: issuer is missing"),
    ],
    ids=["no client_id", "no issuer", "inline", "dotted", "dotted from the top"],
)
def test_a_key_that_is_missing_is_a_mistake_of_its_table(path: Path, text: str, said: str) -> None:
    assert complaint(path, text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accounts = 7", "FILE:1: accounts: must be a table"),
        ("[[accounts]]", "FILE:1: accounts: must be a table"),
        ('[accounts]\nwork = "x"', "FILE:2: accounts.work: must be a table"),
        ("[[accounts.work]]", "FILE:1: accounts.work: must be a table"),
    ],
)
def test_what_is_no_table_is_a_mistake(path: Path, text: str, said: str) -> None:
    assert complaint(path, text) == said


# ---- files that can't be read


@pytest.mark.parametrize("text", ["[accounts", "[accounts.work]\nissuer = https://a", "a = 1\na = 2", "x = 1979-02-31"])
def test_what_is_no_toml_is_a_mistake_that_says_where(path: Path, text: str) -> None:
    said = complaint(path, text)
    assert said.startswith("FILE: ")
    assert "at line" in said or "at end of document" in said


@pytest.mark.parametrize(
    "text",
    [f"x = {'[' * 5000}{']' * 5000}", f"x = {'1' * 5000}"],
    ids=["a thousand lists deep", "a number of thousands of digits"],
)
def test_toml_that_is_too_much_to_read_is_a_mistake(path: Path, text: str) -> None:
    assert complaint(path, text).startswith("FILE: ")


def test_a_file_that_is_no_utf_8_is_a_mistake(path: Path) -> None:
    path.write_bytes(b"# \xff\xfe\n")
    with pytest.raises(ConfigError, match="can't be read: 'utf-8' codec can't decode"):
        config.load(path)


def test_a_directory_in_the_file_s_place_can_not_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    assert str(raised.value).startswith(f"{path} can't be read: ")


def test_a_file_below_a_file_can_not_be_read(path: Path) -> None:
    path.write_text("", "utf-8")
    with pytest.raises(ConfigError) as raised:
        config.load(path / "config.toml")
    assert str(raised.value).startswith(f"{path / 'config.toml'} can't be read: ")


def test_line_ends_of_another_system_are_line_ends(path: Path) -> None:
    path.write_bytes(f"{MINIMAL}scop = 1\n".replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=r":5: accounts\.work\.scop: unknown key"):
        config.load(path)


def test_a_text_is_judged_before_it_is_a_file(path: Path) -> None:
    assert config.parse(path, MINIMAL) == read(path, MINIMAL)
    with pytest.raises(ConfigError, match=r"config\.toml: accounts\.work: client_id is missing"):
        config.check(path, {"accounts": {"work": {"issuer": "https://acme.example/"}}})


# ---- where the file is


def test_the_variable_says_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_CONFIG", "/etc/somewhere.toml")
    assert config.config_path() == Path("/etc/somewhere.toml")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps configuration elsewhere")
@pytest.mark.parametrize("variable", [None, ""])
def test_without_it_the_file_is_with_the_user_s_configuration(
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
