"""git's credential helper protocol: what git says, and what it is told."""

import pytest

from auth_agent.cli.tools.git import answer, read_attributes, url_of
from auth_agent_client import Token

TOKEN = Token("work", "at-1", "Bearer", 2_000_000_000.9, "repo", None)
BY_TYPE = "capability[]=authtype\nauthtype=Bearer\ncredential=at-1\nephemeral=1\npassword_expiry_utc=2000000000\n"
BY_PASSWORD = "username=oauth2\npassword=at-1\npassword_expiry_utc=2000000000\n"


def test_attributes_end_at_an_empty_line_and_a_list_has_its_values_in_order() -> None:
    text = 'protocol=https\nhost=git.example.com\nwwwauth[]=Basic realm="a=b"\nwwwauth[]=Bearer\n\nhost=evil.example\n'
    assert read_attributes(text) == {
        "protocol": ["https"],
        "host": ["git.example.com"],
        "wwwauth": ['Basic realm="a=b"', "Bearer"],
    }
    assert read_attributes("state[]=a\nstate[]=\nstate[]=b\nunknown=\n") == {"state": ["b"], "unknown": [""]}
    assert read_attributes("") == {}


@pytest.mark.parametrize("text", ["host\n", "host=a\r\n", "host=a\rb\n", "host=a\0b\n", "=\0\n"])
def test_what_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="attribute"):
        read_attributes(text)


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        ("protocol=https\nhost=git.example.com\n", "https://git.example.com/"),
        ("protocol=https\nhost=git.example.com:8443\npath=team/a.git\n", "https://git.example.com:8443/team/a.git"),
        ("protocol=https\nhost=h.example\npath=a b%2e/ü?x#y\n", "https://h.example/a%20b%252e/%C3%BC%3Fx%23y"),
        ("protocol=http\nhost=[::1]:80\n", "http://[::1]:80/"),
        ("protocol=https\nhost=h.example@evil.example\n", "https://h.example@evil.example/"),  # which the agent refuses
    ],
)
def test_the_url_is_what_git_tells_of_it(lines: str, url: str) -> None:
    assert url_of(read_attributes(lines)) == url


@pytest.mark.parametrize("lines", ["", "protocol=https\n", "host=h.example\n", "protocol=\nhost=h.example\n"])
def test_without_protocol_or_host_there_is_no_url(lines: str) -> None:
    with pytest.raises(ValueError, match="host"):
        url_of(read_attributes(lines))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", BY_PASSWORD),
        ("capability[]=state\n", BY_PASSWORD),
        ("wwwauth[]=Bearer\n", BY_PASSWORD),
        ("capability[]=authtype\ncapability[]=state\n", BY_TYPE),
        ('capability[]=authtype\nwwwauth[]=Basic realm="x"\nwwwauth[]=bearer realm="x"\n', BY_TYPE),
        ('capability[]=authtype\nwwwauth[]=Basic realm="Bearer"\n', BY_PASSWORD),
        ("username=anna\n", BY_PASSWORD.replace("oauth2", "anna")),
    ],
)
def test_a_bearer_token_is_sent_where_git_and_the_server_take_one(lines: str, expected: str) -> None:
    assert answer(TOKEN, read_attributes(lines)) == expected


def test_the_rules_user_name_and_a_token_without_a_known_end() -> None:
    token = Token("work", "at-1", "bearer", None, None, None, username="x-token-auth")
    assert answer(token, {}) == "username=x-token-auth\npassword=at-1\n"
    assert answer(token, {"username": ["anna"]}) == "username=anna\npassword=at-1\n"
    typed = answer(Token("work", "at-1", "MAC", None, None, None), {"capability": ["authtype"]})
    assert typed == "capability[]=authtype\nauthtype=MAC\ncredential=at-1\nephemeral=1\n"
