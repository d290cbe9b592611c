"""The certificates that TLS trusts: the system's, as they are now, or those in the file that `SSL_CERT_FILE` names."""

import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import truststore

from auth_agent.errors import StartupError

_PROTOCOLS: Final = ["http/1.1"]


def trusted_certificates() -> Callable[[], ssl.SSLContext]:
    """Return what returns the trusted certificates, for each connection.

    Raises:
        StartupError: `SSL_CERT_FILE` can't be read, or has no certificate. (OpenSSL would ignore that.)

    """
    file = os.environ.get("SSL_CERT_FILE")
    paths = ssl.get_default_verify_paths()
    if file:
        context = _named(file)
    elif sys.platform == "linux" and paths.cafile:
        return SystemCertificates(paths.cafile, paths.capath)
    else:
        context = _of_the_system()
    return lambda: context


def new_trusted_context() -> ssl.SSLContext:
    """Return a new context with what is trusted now, to which an account's own certificates may be added.

    Raises:
        StartupError: `SSL_CERT_FILE` can't be read.

    """
    file = os.environ.get("SSL_CERT_FILE")
    if file:
        return _named(file)
    paths = ssl.get_default_verify_paths()
    if sys.platform == "linux" and paths.cafile:
        try:
            return _read(paths.cafile, paths.capath)
        except (OSError, ssl.SSLError):  # it is being replaced
            return _of_the_system()
    return _of_the_system()


class SystemCertificates:
    """The certificates of a system that keeps them in a file, which are read again when it has changed.

    truststore reads them for each connection, which takes the event loop 25 ms.
    """

    def __init__(self, file: str, directory: str | None) -> None:
        """Create them; in the directory, OpenSSL looks by itself for what the file lacks."""
        self._file = file
        self._directory = directory
        self._version: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return those that the system trusts now; while the file can't be read, those from before."""
        try:
            status = os.stat(self._file)  # noqa: PTH116 -- for each connection
            version = status.st_ino, status.st_mtime_ns, status.st_size
            if self._context is None or version != self._version:
                self._context, self._version = _read(self._file, self._directory), version
        except (OSError, ssl.SSLError):  # it is being replaced
            self._context = self._context or _of_the_system()
        return self._context


def _named(file: str) -> ssl.SSLContext:
    if not Path(file).is_file():
        raise StartupError(f"SSL_CERT_FILE is {file!r}, which is not a file; correct or unset it")
    try:
        return _read(file, None)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"SSL_CERT_FILE is {file!r}, and no certificate can be read from it") from error


def _of_the_system() -> ssl.SSLContext:
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def _read(file: str, directory: str | None) -> ssl.SSLContext:
    # Not `create_default_context`, which from Python 3.13 on is stricter than the system with companies' certificates.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=file, capath=directory)
    context.set_alpn_protocols(_PROTOCOLS)
    return context
