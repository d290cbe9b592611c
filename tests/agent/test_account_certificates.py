"""The certificates of one account: which files can be used, and that they are read again when they change."""

import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from auth_agent import remedies
from auth_agent.oauth.account_certificates import (
    CERTIFICATES_VARIABLE,
    AccountCertificates,
    CertificateError,
    CertificateFiles,
)
from auth_agent.oauth.certificates import new_trusted_context
from auth_agent.oauth.outcome import Misconfigured
from auth_agent.sessions.advice import retry_remedy
from tests.agent.world import account


def empty() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Files:
    """The files of an account, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca, self.certificate, self.key = (directory / name for name in ("ca.pem", "client.pem", "client.key"))
        self.authority.cert_pem.write_to_path(self.ca)
        self.issue()

    def issue(self) -> None:
        leaf = self.authority.issue_cert("client.example")
        leaf.cert_chain_pems[0].write_to_path(self.certificate)
        leaf.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)

    @property
    def named(self) -> CertificateFiles:
        return CertificateFiles(str(self.ca), str(self.certificate), str(self.key))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_no_file_is_false(files: Files) -> None:
    assert not CertificateFiles()
    assert files.named
    assert CertificateFiles(ca_file="x")
    assert CertificateFiles(client_certificate="x")


def test_an_authority_is_added_to_those_that_are_trusted(files: Files) -> None:
    def trusted() -> ssl.SSLContext:
        context = empty()
        trustme.CA().configure_trust(context)  # pyright: ignore[reportUnknownMemberType] -- pyOpenSSL's context, too
        return context

    context = AccountCertificates(files.named, trusted)()
    assert len(context.get_ca_certs()) == 2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_files_are_read_again_only_when_one_changes(files: Files) -> None:
    certificates = AccountCertificates(files.named, empty)
    first = certificates()
    assert certificates() is first
    files.issue()
    second = certificates()
    assert second is not first
    files.ca.write_bytes(files.ca.read_bytes() + trustme.CA().cert_pem.bytes())
    assert len(certificates().get_ca_certs()) == 2
    files.ca.unlink()
    with pytest.raises(CertificateError):
        certificates()
    files.authority.cert_pem.write_to_path(files.ca)
    assert len(certificates().get_ca_certs()) == 1


def test_a_key_may_be_beside_its_certificate(files: Files) -> None:
    files.certificate.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    named = CertificateFiles(client_certificate=str(files.certificate))
    files.certificate.chmod(0o640)
    with pytest.raises(CertificateError) as caught:
        AccountCertificates(named, empty)()
    assert caught.value.keys == ("client_certificate",)
    files.certificate.chmod(0o600)
    AccountCertificates(named, empty)()


def encrypt(path: Path) -> None:
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
@pytest.mark.parametrize("wrong", ["missing", "a directory", "a pipe", "not PEM", "empty"])
def test_a_file_that_can_not_be_used_is_named(files: Files, name: str, wrong: str) -> None:
    path: Path = getattr(files, name)
    if wrong in ("missing", "a directory", "a pipe"):
        path.unlink()
    if wrong == "a directory":
        path.mkdir(0o700)
    elif wrong == "a pipe":
        os.mkfifo(path, 0o600)
    elif wrong != "missing":
        path.write_text("hello" if wrong == "not PEM" else "")
    with pytest.raises(CertificateError) as caught:
        AccountCertificates(files.named, empty)()
    key = {"ca": "ca_file", "certificate": "client_certificate", "key": "client_key"}[name]
    assert caught.value.keys[0] in {key, "client_certificate" if name == "key" else key}
    assert str(files.directory) in str(caught.value)


@pytest.mark.parametrize("wrong", ["another's", "encrypted", "open"])
def test_a_key_that_can_not_be_used_is_named(files: Files, wrong: str) -> None:
    if wrong == "another's":
        trustme.CA().issue_cert("other.example").private_key_pem.write_to_path(files.key)
        files.key.chmod(0o600)
    elif wrong == "encrypted":
        encrypt(files.key)
    else:
        files.key.chmod(0o644)
    with pytest.raises(CertificateError) as caught:
        AccountCertificates(files.named, empty)()
    assert caught.value.keys == ("client_key",)
    assert str(files.key) in str(caught.value)


def test_a_file_of_certificates_that_vanished_since_the_agents_start_is_named(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.directory / "gone.pem"))
    with pytest.raises(CertificateError) as caught:
        AccountCertificates(files.named, new_trusted_context)()
    assert (caught.value.keys, caught.value.variable) == ((), CERTIFICATES_VARIABLE)
    failure = Misconfigured("gone", caught.value.keys, caught.value.variable)
    assert retry_remedy(account(), failure)[0] == remedies.certificates()
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    AccountCertificates(files.named, new_trusted_context)()
