"""Which certificates are trusted, and that the system's are read again when they change."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from auth_agent.errors import StartupError
from auth_agent.oauth.certificates import SystemCertificates, trusted_certificates


def trusted(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def add_authority(file: Path) -> None:
    replacement = file.with_suffix(".new")
    replacement.write_bytes(file.read_bytes() + trustme.CA().cert_pem.bytes())
    replacement.replace(file)


def test_the_systems_certificates_are_read_once_and_again_when_they_change(file: Path) -> None:
    certificates = SystemCertificates(str(file), None)
    first = certificates()
    assert trusted(first) == 1
    assert certificates() is first
    add_authority(file)
    assert trusted(certificates()) == 2
    assert certificates() is certificates()


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_while_the_file_is_replaced_those_from_before_are_trusted(file: Path, what: str) -> None:
    certificates = SystemCertificates(str(file), None)
    first, content = certificates(), file.read_bytes()
    file.unlink()
    if what == "empty":
        file.touch()
    assert certificates() is first
    file.write_bytes(content + trustme.CA().cert_pem.bytes())
    assert trusted(certificates()) == 2


def test_a_connection_is_verified(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", str(file)):
        monkeypatch.setenv("SSL_CERT_FILE", name)
        context = trusted_certificates()()
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_file_is_trusted_instead_of_the_systems(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert trusted(trusted_certificates()()) == 1


def test_a_file_that_can_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(tmp_path))
    with pytest.raises(StartupError):
        trusted_certificates()
