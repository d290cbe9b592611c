"""What AWS's Security Token Service sends, as credentials or as an error."""

import json

import pytest

from auth_agent.cli import aws
from auth_agent.cli.assumed_role import read_response
from auth_agent.cli.light import UsageError
from auth_agent.oauth.http_client import Response
from auth_agent.secret import Secret
from auth_agent_client import errors

HOST = "sts.amazonaws.com"
TOKEN = Secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl")
# As in the API Reference of AWS STS, AssumeRoleWithWebIdentity.
GRANTED = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>amzn1.account.AF6RHO7KZU5XRVQJGXK6HB56KR2A</SubjectFromWebIdentityToken>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/dev/x</Arn></AssumedRoleUser>
    <Credentials>
      <SessionToken>AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE</SessionToken>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <Expiration>2014-10-24T23:00:23Z</Expiration>
      <AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


def refusal(code: str, message: str) -> bytes:
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    ).encode()


def failure(status: int, body: bytes) -> errors.AgentError:
    with pytest.raises(errors.AgentError) as raised:
        read_response(HOST, Response(status, {}, body), TOKEN)
    return raised.value


def test_credentials_are_as_the_sdks_take_them() -> None:
    printed = read_response(HOST, Response(200, {}, GRANTED), TOKEN)
    assert json.loads(printed) == {
        "Version": 1,
        "AccessKeyId": "ASgeIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY",
        "SessionToken": "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE",
        "Expiration": "2014-10-24T23:00:23Z",
    }
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "code", "kind", "word", "helps"),
    [
        (400, "InvalidIdentityToken", errors.Denied, "refused", "OpenID Connect provider"),
        (400, "ExpiredTokenException", errors.Denied, "refused", "OpenID Connect provider"),
        (403, "AccessDenied", errors.Denied, "refused", "trust policy"),
        (400, "ValidationError", errors.Denied, "refused", ""),
        (400, "IDPCommunicationError", errors.Unavailable, "busy", ""),
        (400, "Throttling", errors.Unavailable, "busy", ""),
        (503, "", errors.Unavailable, "busy", ""),
    ],
)
def test_a_refusal_names_the_code_and_what_helps(
    status: int, code: str, kind: type[errors.AgentError], word: str, helps: str
) -> None:
    error = failure(status, refusal(code, "No OpenIDConnect provider found"))
    assert type(error) is kind
    assert (error.failure, code in error.message) == (word, True)
    assert helps in "".join(item.text for item in error.remedy)


def test_a_refusal_that_quotes_the_token_shows_none_of_it() -> None:
    quoted = failure(400, refusal("InvalidIdentityToken", f"{TOKEN.reveal()}\x1b[31m is bad".replace("\x1b", "?")))
    assert "is bad" in quoted.message
    assert not [part for part in TOKEN.reveal().split(".") if part in quoted.message]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html><p>proxy",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        GRANTED.replace(b"SessionToken>", b"Other>"),
        GRANTED.replace(b"ASgeIAIOSFODNN7EXAMPLE", b""),
    ],
)
@pytest.mark.parametrize("status", [200, 407])
def test_any_other_response_is_an_error(body: bytes, status: int) -> None:
    error = failure(status, body)
    assert error.failure in ("invalid_response", "refused")
    assert HOST in error.message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--region", "eu/../x", "--role-arn", "r"],
        ["--region", "eu.evil.example#", "--role-arn", "r"],
        ["--region", "", "--role-arn", "r"],
        ["--session-name", "a b", "--role-arn", "r"],
        ["--session-name", "a", "--role-arn", "r"],
        ["--session-name", "é" * 3, "--role-arn", "r"],
    ],
)
def test_a_value_that_aws_would_refuse_is_a_mistake(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        aws.COMMAND.parse(arguments)


@pytest.mark.parametrize(
    "arguments", [[], ["work"], ["--role-arn", "r", "--region", "eu-west-1", "--endpoint-url", "https://sts.example/"]]
)
def test_without_a_role_or_with_two_endpoints_nothing_is_asked(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert aws.main(arguments) == 2
    assert "--" in capsys.readouterr().err
