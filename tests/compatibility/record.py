"""Writes `data`: what the first version promises and writes, by running its code.

`python -m tests.compatibility.record` takes that code from the repository's history, installs it in a temporary
directory, and lets each line of `data` come from it. The secrets in it are made up here. Nothing of it is written or
changed by hand, and a test compares it with what is written anew.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.compatibility.first_version import COMMIT, DATA, ROOT, install

# By the options that `account add` has for them, every key that an account can have.
_ACCOUNTS: Final = (
    (
        *("work", "--issuer", "https://acme.eu.auth0.com/", "--client-id", "native-app", "--default"),
        *("--audience", "https://api.acme.example", "--scope", "openid offline_access read:things"),
        *("--redirect-port", "40001", "--redirect-port", "40002", "--proxy", "http://proxy.example:3128"),
        *("--authorize", "organization=org_1", "--authorize", "prompt=login", "--grant", "authorization_code"),
        *("--token-endpoint-auth-method", "none", "--management-account", "work.users"),
        *("--management-audience", "https://acme.eu.auth0.com/api/v2/"),
    ),
    (
        *("service", "--issuer", "https://id.acme.example/realms/things", "--client-id", "service-app"),
        *("--grant", "client_credentials", "--token-endpoint-auth-method", "client_secret_basic", "--no-default"),
    ),
    ("least", "--issuer", "https://id.acme.example", "--client-id", "least-app"),
)


def record(data: Path) -> None:
    """Write all of it there."""
    with tempfile.TemporaryDirectory(prefix="auth-agent-first-") as temporary:
        site, home = Path(temporary) / "site", Path(temporary) / "home"
        install(site)
        home.mkdir(0o700)
        data.mkdir(parents=True, exist_ok=True)
        config = data / "config.toml"
        config.unlink(missing_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AUTH_AGENT", "XDG_"))},
            "HOME": str(home),
            "PYTHONPATH": str(site),
            "AUTH_AGENT_CONFIG": str(config),
            "AUTH_AGENT_SOCK": str(home / "agent.sock"),
        }

        def run(*arguments: str) -> str:
            return subprocess.run(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout

        (data / "contract.json").write_text(run("tests.compatibility.contract"))
        for account in _ACCOUNTS:
            run("auth_agent", "account", "add", *account)
        (data / "accounts.json").write_text(run("auth_agent", "account", "list", "--json"))
        run("tests.compatibility.stored", str(data))


def main() -> None:
    """Write it in place of what is there."""
    shutil.rmtree(DATA, ignore_errors=True)
    record(DATA)
    (DATA / "README.md").write_text(
        f"What version 0.1.0 as of commit {COMMIT[:7]} promises and writes, recorded from its code by\n"
        "`python -m tests.compatibility.record`; the secrets are made up, and nothing here is changed by hand.\n"
    )


if __name__ == "__main__":
    main()
