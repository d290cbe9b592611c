"""The stage: what many rows need, each started when the first of them asks for it, and ended after the last."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar, cast

import trustme

from auth_agent_client import Agent
from tests.bench.cores import Cores
from tests.bench.processes import ProcessError
from tests.bench.servers import Place, Server, agent_server, c_echo, oidc_agent, protocol_echo
from tests.op.provider import OpenIDProvider

ACCOUNT: Final = "work"
AGENT_COMMAND: Final = f"{sys.prefix}/bin/auth-agent"
CLIENT_ID: Final = "native-app"
# With an audience the access token is a JWT of the usual length.
AUDIENCE: Final = "https://api.example/"
Thing = TypeVar("Thing")
_LIFETIME: Final = 24 * 3600  # s: no refresh is due during the benchmark


class Stage:
    """An agent with a session of the test provider, and its floors and peers, each in its own process.

    `directory` is for files, `environment` that of all processes (the agent's clients find it), `cores` where they run,
    `servers` those that have been started.
    """

    def __init__(self, directory: Path, cores: Cores, resources: contextlib.ExitStack) -> None:
        self.directory = directory
        self.cores = cores
        self.servers: list[Server] = []
        self._resources = resources
        self._shared: dict[object, object] = {}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_AGENT_")}
        # An installed program has its bytecode; without it, a command would mostly compile.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment: Mapping[str, str] = inherited | {
            "AUTH_AGENT_SOCK": os.fspath(directory / "agent" / "agent.sock"),
            "AUTH_AGENT_CONFIG": os.fspath(directory / "config.toml"),
        }

    def shared(self, start: Callable[["Stage"], AbstractContextManager[Thing]]) -> Thing:
        """Return what `start` starts, the first time; it ends with the stage."""
        if start not in self._shared:
            self._shared[start] = self._resources.enter_context(start(self))
        return cast(Thing, self._shared[start])

    @cached_property
    def place(self) -> Place:
        """Where servers run."""
        return Place(self.directory, self.environment, self.cores.server)

    @cached_property
    def token(self) -> str:
        """The token of the agent's account."""
        with Agent(self.place.socket) as agent:
            return agent.token(ACCOUNT).access_token

    @cached_property
    def agent(self) -> Server:
        """The agent (`auth-agent run --store memory`), which serves `token`."""
        path = self.place.socket
        settings = account_settings(ACCOUNT, self._provider.issuer, ca_file=self._authority)
        Path(self.environment["AUTH_AGENT_CONFIG"]).write_text(settings, encoding="utf-8")
        command = [AGENT_COMMAND, "run", "--store", "memory"]
        pid = self._resources.enter_context(self.place.run("agent", command, path))
        refresh_token = self._provider.login(client_id=CLIENT_ID, audience=AUDIENCE).refresh_token
        with Agent(path) as agent:
            agent.import_refresh_token(refresh_token or "", ACCOUNT)
        response = self._provider.userinfo(self.token)
        if not response.is_success:
            raise ProcessError(f"the provider doesn't accept the agent's token: {response.status_code}")
        self.servers.append(agent_server(self.directory, path, pid, ACCOUNT, self.token))
        return self.servers[-1]

    @cached_property
    def c_echo(self) -> Server:
        """The least that any server could do. Raises Missing."""
        return self._start(c_echo(self.place, self.agent))

    @cached_property
    def protocol_echo(self) -> Server:
        """The least that a server on asyncio could do."""
        return self._start(protocol_echo(self.place, self.agent))

    @cached_property
    def oidc_agent(self) -> Server:
        """Debian's oidc-agent, with an account of the same name at the same provider. Raises Missing."""
        return self._start(oidc_agent(self.place, self._provider, self._authority, AUDIENCE, ACCOUNT))

    def _start(self, server: contextlib.AbstractContextManager[Server]) -> Server:
        self.servers.append(self._resources.enter_context(server))
        return self.servers[-1]

    @cached_property
    def _provider(self) -> OpenIDProvider:
        """A provider with TLS, since oidc-agent takes no other. It has nothing to do while something is measured."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(self.directory / "certificate.pem")
        certificate.private_key_pem.write_to_path(self.directory / "key.pem")
        authority.cert_pem.write_to_path(self._authority)
        tls = self.directory / "certificate.pem", self.directory / "key.pem"
        provider = OpenIDProvider(access_token_lifetime=_LIFETIME, tls=tls, ca=self._authority)
        return self._resources.enter_context(provider)

    @property
    def _authority(self) -> Path:
        return self.directory / "ca.pem"


@contextlib.contextmanager
def running_stage(cores: Cores) -> Generator[Stage]:
    """Prepare a stage; end all that was started on it after the block."""
    with contextlib.ExitStack() as resources:
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="auth-agent-bench-")))
        yield Stage(directory, cores, resources)


def account_settings(account: str, issuer: str, *, ca_file: Path | None = None) -> str:
    """Return the configuration of an account at that issuer."""
    authority = "" if ca_file is None else f'ca_file = "{ca_file}"\n'
    return f"""\
[accounts.{account}]
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
audience = "{AUDIENCE}"
{authority}"""
