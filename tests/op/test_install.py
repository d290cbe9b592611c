"""The installation of the provider: what npm trusts, and the message if it fails."""

import os
from pathlib import Path

import pytest

from tests.op import install

FAILING = ["sh", "-c", "exit 3"]


def test_npm_trusts_the_certificates_that_the_machine_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert install.environment() == {**os.environ, "NODE_EXTRA_CA_CERTS": str(bundle)}
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", "theirs.pem")
    assert install.environment()["NODE_EXTRA_CA_CERTS"] == "theirs.pem"


def test_a_file_that_is_not_there_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    monkeypatch.setattr(install, "BUNDLES", ())
    assert "NODE_EXTRA_CA_CERTS" not in install.environment()


def test_a_failure_of_npm_prints_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "npm_command", lambda: FAILING)
    with pytest.raises(SystemExit) as ended:
        install.main(tmp_path)
    assert "exit code 3" in str(ended.value)
    assert "npm_config_cafile or NODE_EXTRA_CA_CERTS" in str(ended.value)
