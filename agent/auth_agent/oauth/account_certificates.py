"""The certificates of one account: those that it trusts besides the usual ones, and its client's own (RFC 8705)."""

import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_agent.errors import StartupError

CERTIFICATES_VARIABLE: Final = "SSL_CERT_FILE"
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class CertificateError(Exception):
    """A file can't be used; the text names it.

    `keys` are the account's key in the configuration that names it, or it is the environment `variable` that does.
    """

    def __init__(self, text: str, key: str | None = None, variable: str | None = None) -> None:
        super().__init__(text)
        self.keys: tuple[str, ...] = () if key is None else (key,)
        self.variable = variable


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files of an account, all PEM; None: the account has no such file.

    Without `client_key`, the key is in `client_certificate`.
    """

    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.ca_file is not None or self.client_certificate is not None


class AccountCertificates:
    """Returns the certificates for each connection; the files are read again when one of them has changed."""

    def __init__(self, files: CertificateFiles, trusted: Callable[[], ssl.SSLContext]) -> None:
        """Create them; `trusted` returns a new context with those that all accounts trust."""
        self._files = files
        self._trusted = trusted
        self._versions: tuple[object, ...] = ()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return them.

        Raises:
            CertificateError: a file can't be used. Nothing is sent with what it had before.

        """
        files = self._files
        named = (("ca_file", files.ca_file), ("client_certificate", files.client_certificate))
        versions = tuple(_version(key, path) for key, path in (*named, ("client_key", files.client_key)))
        if self._context is None or versions != self._versions:
            self._context = None
            self._context, self._versions = self._read(), versions
        return self._context

    def _read(self) -> ssl.SSLContext:
        files = self._files
        try:
            context = self._trusted()
        except StartupError as error:  # it was a file with certificates when the agent started
            raise CertificateError(str(error), variable=CERTIFICATES_VARIABLE) from error
        if files.ca_file is not None:
            try:
                context.load_verify_locations(cafile=files.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise CertificateError(f"ca_file {files.ca_file!r} has no certificate in PEM", "ca_file") from error
        if files.client_certificate is not None:
            _load_client_certificate(context, files.client_certificate, files.client_key)
        return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key_file: str | None) -> None:
    key, path = ("client_certificate", certificate) if key_file is None else ("client_key", key_file)
    if os.stat(path).st_mode & _FOR_OTHERS:  # noqa: PTH116 -- as `_version`
        raise CertificateError(f"{key} {path!r} has a private key that other users can access (chmod 600)", key)

    def refuse() -> str:  # else OpenSSL would ask at the agent's terminal
        raise CertificateError(f"{key} {path!r} is encrypted; the agent needs a key without a passphrase", key)

    try:
        context.load_cert_chain(certificate, key_file, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key} {path!r} is not the key of the client_certificate", key) from error
        text = f"client_certificate {certificate!r} and its key can't be read as PEM"
        raise CertificateError(text, "client_certificate") from error


def _version(key: str, path: str | None) -> tuple[int, ...] | None:
    """Return what changes with a file. Raises a `CertificateError` if it can't be read."""
    if path is None:
        return None
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        raise CertificateError(f"{key} {path!r} can't be read: {error.strerror}", key) from error
    if not stat.S_ISREG(status.st_mode):
        raise CertificateError(f"{key} {path!r} is not a file", key)
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe would make the agent wait."""
    return os.open(path, flags | os.O_NONBLOCK)
