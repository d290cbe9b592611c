"""Creates the picture of `auth-agent status` in the documentation, from the output of the real command.

Providers, keyring and agent are real and on this machine; the providers have public names, which a proxy maps to
loopback. Nothing leaves the machine.
"""

import os
import pty
import subprocess
import sys
import tempfile
import termios
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import trustme

from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession, missing_packages
from tests.op.provider import OpenIDProvider
from tests.picture.svg import picture
from tests.picture.tunnel import tunnel

COLUMNS: Final = 80
WORK, LAB = "acme.eu.auth0.com", "sso.lab.example"


def main() -> int:
    """Write the picture to the file that the argument names."""
    missing = missing_packages()
    if missing is not None:
        sys.stderr.write(f"The picture needs a keyring: {missing}\n")
        return 1
    target = Path(sys.argv[1])
    with _stage() as agent:
        target.write_text(picture("auth-agent status", _screen(agent, "status"), COLUMNS))
    sys.stderr.write(f"{target} was written\n")
    return 0


@contextmanager
def _stage() -> Generator[AgentProcess, None, None]:
    """Run an agent with an account in each of four states."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports: dict[str, int] = {}
        proxy = stack.enter_context(tunnel(ports))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")

        def provider(host: str) -> OpenIDProvider:
            certificate = authority.issue_cert(host)
            certificate.cert_chain_pems[0].write_to_path(directory / f"{host}.pem")
            certificate.private_key_pem.write_to_path(directory / f"{host}.key")
            started = OpenIDProvider(
                flavor="auth0" if host == WORK else "plain",
                access_token_lifetime=3600,
                tls=(directory / f"{host}.pem", directory / f"{host}.key"),
                ca=directory / "ca.pem",
                origin=f"https://{host}",
                proxy=proxy,
            )
            stack.enter_context(started)
            ports[host] = started.port
            return started

        work, lab = provider(WORK), provider(LAB)
        keyring = stack.enter_context(KeyringSession())
        agent = AgentProcess(
            {
                "work": account(work, proxy=proxy, default=True),
                "home": account(lab, proxy=proxy),
                "lab": account(lab, "second-app", proxy=proxy),
                "google": {"issuer": "https://accounts.google.com", "client_id": "id", "proxy": proxy},
            },
            environment={**keyring.environment, "SSL_CERT_FILE": str(directory / "ca.pem")},
            store="keyring",
        )
        stack.enter_context(_at_home(agent))
        _act(agent, work, lab)
        yield agent


@contextmanager
def _at_home(agent: AgentProcess) -> Generator[None, None, None]:
    """Run the agent with its files at the default paths."""
    config = agent.home / ".config" / "auth-agent" / "config.toml"
    config.parent.mkdir(parents=True)
    agent.config.rename(config)
    agent.config, agent.socket = config, agent.home / ".local" / "state" / "auth-agent" / "agent.sock"
    agent.environment.update(AUTH_AGENT_CONFIG=str(config), AUTH_AGENT_SOCK=str(agent.socket))
    with agent:
        yield


def _act(agent: AgentProcess, work: OpenIDProvider, lab: OpenIDProvider) -> None:
    """Bring the accounts into their states."""
    tokens_by_account = {
        "work": work.login("auth0|65f1c0a7d2e94b8f"),
        "home": lab.login("alice@example.org"),
        "lab": lab.login("a.example", client_id="second-app"),
    }
    with agent.client() as client:
        for name, tokens in tokens_by_account.items():
            assert tokens.refresh_token is not None
            client.import_refresh_token(tokens.refresh_token, name)
        for name in ("work", "lab"):  # more refreshes would exceed the rate limit
            client.refresh(name)
    # Its refresh token was replaced at the import: presenting it again ends the session.
    stolen = tokens_by_account["lab"].refresh_token
    assert stolen is not None
    assert lab.refresh(stolen, client_id="second-app").is_client_error
    agent.run("refresh", "lab")
    lab.fault("status", status=503, headers={"Retry-After": "42"}, times=None)
    agent.run("refresh", "home")
    with agent.client() as client:
        until(lambda: record(client, "home")["renewal"] == "retrying")
        until(lambda: record(client, "lab")["state"] == "login_required")


def _screen(agent: AgentProcess, *arguments: str) -> str:
    """Return what a command prints on a terminal."""
    main, sub = pty.openpty()
    termios.tcsetwinsize(sub, (50, COLUMNS))
    environment = {name: value for name, value in agent.environment.items() if name not in {"COLUMNS", "NO_COLOR"}}
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment | {"TERM": "xterm-256color"}, stdin=sub, stdout=sub, stderr=sub
    ):
        os.close(sub)
        output = b""
        try:
            while data := os.read(main, 65_536):
                output += data
        except OSError:  # on Linux: the other end is closed
            pass
        finally:
            os.close(main)
    return output.decode().replace("\r\n", "\n")


sys.exit(main())
