"""The real AWS CLI and SDK, with `auth-agent aws` and with a file, at moto's AWS account."""

import importlib.util
import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.agent_process import until
from tests.integration.tools.aws_account import AwsAccount
from tests.integration.tools.tool_home import SCRIPTS, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

PAGE = "docs/tools/aws.md"
ROLE = "arn:aws:iam::123456789012:role/dev"
ARN = "arn:aws:sts::123456789012:assumed-role/dev/auth-agent"

pytestmark = pytest.mark.skipif(
    not (SCRIPTS / "aws").exists() or importlib.util.find_spec("moto") is None,
    reason="this needs awscli and moto: make tools installs them",
)


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    """A home without a trace of AWS, whose ID tokens live as long as access tokens."""
    with tool_home(start_provider(access_token_lifetime=lifetime, id_token_lifetime=lifetime)) as home:
        for name in [name for name in home.environment if name.startswith("AWS_")]:
            del home.environment[name]
        home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
        yield home


@pytest.fixture
def aws(home: ToolHome, tmp_path: Path) -> Generator[AwsAccount, None, None]:
    """An account whose endpoint is mapped to `work`, and a profile."""
    with AwsAccount(home.provider, tmp_path) as account:
        home.map(f'[hosts."{account.url}"]\naccount = "work"\n')
        home.environment["AWS_ENDPOINT_URL"] = account.url
        home.environment["AWS_DEFAULT_REGION"] = "us-east-1"
        process = f"auth-agent aws --role-arn {ROLE} --endpoint-url {account.url}"
        home.succeed("aws", "configure", "set", "profile.work.credential_process", process)
        yield account


def who(home: ToolHome, *options: str) -> str:
    return home.succeed("aws", *options, "sts", "get-caller-identity", "--query", "Arn", "--output", "text").strip()


def test_the_cli_gets_credentials_for_the_id_token(home: ToolHome, aws: AwsAccount) -> None:
    assert who(home, "--profile", "work") == ARN
    ((token, is_good),) = aws.presented
    assert is_good
    assert home.files_with({token}) == []


def test_the_page_works_as_it_stands(home: ToolHome, aws: AwsAccount) -> None:
    home.succeed("aws", "configure", "set", "profile.work.credential_process", "")
    environment = {"XDG_RUNTIME_DIR": str(home.path)}
    configuration = home.agent.config.read_text().partition("\n[hosts")[0]
    for snippet in snippets(PAGE):
        if snippet.language == "toml":
            configuration += snippet.text.replace('"sts.amazonaws.com"', f'"{aws.url}"')
            home.agent.config.write_text(configuration)
        for command, output in snippet.commands if snippet.language == "console" else ():
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                environment[name] = value.strip('"').replace("$XDG_RUNTIME_DIR", str(home.path))
                continue
            if "AWS_WEB_IDENTITY_TOKEN_FILE" in environment:
                until(Path(environment["AWS_WEB_IDENTITY_TOKEN_FILE"]).exists)
            # This account's endpoint is not AWS's.
            here = command.replace('role/dev"', f'role/dev --endpoint-url {aws.url}"')
            result = home.run("sh", "-c", here, environment=environment)
            assert result.returncode == 0, (command, result.stderr)
            assert output.strip() in result.stdout
    assert [is_good for _, is_good in aws.presented] == [True, True]


@rotating
def test_every_call_gets_a_token_that_is_good_while_they_rotate(home: ToolHome, aws: AwsAccount) -> None:
    while len({token for token, _ in aws.presented}) < 3:
        assert who(home, "--profile", "work") == ARN
    assert {is_good for _, is_good in aws.presented} == {True}


@rotating
def test_an_sdk_reads_a_file_that_is_always_fresh(home: ToolHome, aws: AwsAccount) -> None:
    home.agent.config.write_text(f'{home.agent.config.read_text()}\n[files."aws.jwt"]\naccount = "work"\nkind = "id"\n')
    home.succeed("auth-agent", "reload")
    file = home.path / "auth-agent" / "aws.jwt"
    until(file.exists)
    program = (
        "import boto3, sys\n"
        "for line in sys.stdin:\n"
        "    session = boto3.Session()\n"  # one that has no credentials yet
        "    print(session.client('sts').get_caller_identity()['Arn'], flush=True)\n"
    )
    variables = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file), "AWS_ROLE_SESSION_NAME": "auth-agent"}
    pause = threading.Event()
    while len({token for token, _ in aws.presented}) < 3:
        result = home.run(str(SCRIPTS / "python"), "-c", program, stdin="\n\n\n", environment=variables)
        assert result.stdout.split() == [ARN] * 3, result.stderr
        pause.wait(0.1)
    assert {is_good for _, is_good in aws.presented} == {True}


def test_the_access_token_may_be_shown_instead(home: ToolHome, aws: AwsAccount) -> None:
    options = ("--role-arn", ROLE, "--endpoint-url", aws.url, "--session-name", "me@work", "--duration", "900")
    credentials = json.loads(home.succeed("auth-agent", "aws", "work", *options, "--access-token"))
    assert sorted(credentials) == ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"]
    assert credentials["Version"] == 1
    ((token, is_good),) = aws.presented
    assert is_good
    assert token.count(".") != 2  # opaque


def test_an_endpoint_that_is_not_mapped_gets_no_token(home: ToolHome, aws: AwsAccount) -> None:
    with AwsAccount(home.provider, home.path) as evil:
        result = home.run("auth-agent", "aws", "work", "--role-arn", ROLE, "--endpoint-url", evil.url)
        assert (result.returncode, result.stdout, evil.presented) == (6, "", [])
        assert f"no account is configured for {evil.url}" in result.stderr
    result = home.run("auth-agent", "aws", "--role-arn", ROLE)
    assert result.returncode == 6
    assert "no account is configured for https://sts.amazonaws.com" in result.stderr
    assert aws.presented == []


@pytest.mark.usefixtures("aws")
def test_errors_reach_the_person_through_the_tool(home: ToolHome) -> None:
    home.log_out()
    result = home.run("aws", "--profile", "work", "sts", "get-caller-identity")
    assert result.returncode != 0
    assert "auth-agent login work" in result.stderr
    assert home.agent.terminate() == 0
    result = home.run("aws", "--profile", "work", "sts", "get-caller-identity")
    assert "auth-agent start" in result.stderr
