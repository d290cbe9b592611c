"""Programs that read their token from a file, unmodified, with the files that the agent keeps: docs/tools/files.md."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.tools.token_exchange import TokenExchange
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

PAGE = "docs/tools/files.md"
LIFETIME = 5  # s, of all tokens
ROTATIONS = 3
AZURE = """
import sys
from azure.identity import WorkloadIdentityCredential
for authority in sys.stdin:
    credential = WorkloadIdentityCredential(authority=authority.strip(), disable_instance_discovery=True)
    print(credential.get_token("https://management.azure.com/.default").token, flush=True)
"""
GOOGLE = """
import os, sys
from google.auth.identity_pool import Credentials
from google.auth.transport.requests import Request
for _ in sys.stdin:  # without the look-up of the project's name, as by google.auth.default
    credentials = Credentials.from_file(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    credentials = credentials.with_scopes(["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    print(credentials.token, flush=True)
"""


@pytest.fixture
def provider(start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    return start_provider(access_token_lifetime=LIFETIME, id_token_lifetime=LIFETIME)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent that is logged in."""
    with AgentProcess({"work": account(provider)}) as process:
        with process.client() as client:
            log_in(client, provider)
        yield process


def configure(agent: AgentProcess, text: str) -> None:
    """Have the agent keep the files of that configuration, beside its accounts."""
    accounts, _, _ = agent.config.read_text().partition("[files.")
    agent.config.write_text(f"{accounts}\n{text}")
    assert agent.run("reload").returncode == 0


def test_the_page_works_as_it_stands(agent: AgentProcess) -> None:
    folder = agent.home / ".config" / "app"
    folder.mkdir(parents=True, mode=0o700)
    page = snippets(PAGE)
    configure(agent, "\n".join(snippet.text for snippet in page if snippet.language == "toml"))
    for snippet in page:
        for command, _ in snippet.commands if snippet.language == "console" else []:
            result = agent.run(*command.split()[1:])
            assert result.returncode == 0, result.stderr
    until((agent.home / "auth-agent" / "azure.jwt").exists)
    agent.until_logged(f"{folder}/token problem=")  # this provider has no such API


@pytest.fixture
def exchange(provider: OpenIDProvider, tmp_path: Path) -> Generator[TokenExchange, None, None]:
    with TokenExchange(provider, tmp_path) as server:
        yield server


def run_while_tokens_rotate(agent: AgentProcess, exchange: TokenExchange, program: str, **variables: str) -> None:
    """Run a program for each line that it reads, until it has shown a few tokens; each must have been valid."""
    environment = {**agent.environment, **variables, "REQUESTS_CA_BUNDLE": str(exchange.authority), "no_proxy": "*"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        while len({token for token, _ in exchange.presented}) < ROTATIONS:
            process.stdin.write(f"{exchange.url}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{exchange.granted}\n", process.stderr.read()
        process.stdin.close()
    assert {is_valid for _, is_valid in exchange.presented} == {True}


def identity_file(agent: AgentProcess, kind: str = "id") -> Path:
    """Have the agent keep a file with such a token; return its path."""
    configure(agent, f'[files."identity"]\naccount = "work"\nkind = "{kind}"\n')
    path = agent.home / "auth-agent" / "identity"
    until(path.exists)
    return path


@pytest.mark.parametrize("kind", ["id", "access"])
def test_azure_identity_reads_it(kind: str, agent: AgentProcess, exchange: TokenExchange) -> None:
    if importlib.util.find_spec("azure.identity") is None:
        pytest.skip("this needs azure-identity: make tools installs it")
    run_while_tokens_rotate(
        agent,
        exchange,
        AZURE,
        AZURE_FEDERATED_TOKEN_FILE=str(identity_file(agent, kind)),
        AZURE_CLIENT_ID="11111111-2222-3333-4444-555555555555",
        AZURE_TENANT_ID="66666666-7777-8888-9999-000000000000",
    )
    assert exchange.forms[-1]["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]


def test_google_auth_reads_it(agent: AgentProcess, exchange: TokenExchange) -> None:
    if importlib.util.find_spec("google.auth") is None:
        pytest.skip("this needs google-auth: make tools installs it")
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/acme"
    credentials = {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "token_url": f"{exchange.url}/v1/token",
        "credential_source": {"file": str(identity_file(agent))},
    }
    file = agent.home / "google.json"
    file.write_text(json.dumps(credentials))
    run_while_tokens_rotate(agent, exchange, GOOGLE, GOOGLE_APPLICATION_CREDENTIALS=str(file))
    assert exchange.forms[-1]["audience"] == [pool]
