"""A mail server: dovecot and postfix as they are, on TLS ports of their own, which take the provider's tokens alone."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest
import trustme

from tests.integration.agent_process import PATIENCE, until
from tests.integration.tools.token_server import BEARER, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider

_UID: Final = 65_534  # nobody's: dovecot keeps no mail of root
_PROGRAMS: Final = {"dovecot": "dovecot-imapd dovecot-lmtpd", "postfix": "postfix"}

_DOVECOT: Final = """
protocols = imap lmtp
base_dir = {folder}/run
log_path = {folder}/dovecot.log
auth_verbose = yes
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = oauthbearer xoauth2
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={folder}/home/%u allow_all_users=yes
}}
mail_location = maildir:~/Maildir
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
# No pause after a failed login, which would outlast a token.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
"""
# Each token is shown to the server in `introspection_url`; auth_cache_size is 0 by default.
_OAUTH2: Final = """
introspection_url = {introspection}
introspection_mode = auth
username_attribute = email
"""
_MAIN: Final = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
myhostname = mail.example.invalid
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_tls_cert_file = {folder}/cert.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
virtual_mailbox_domains = example.invalid
virtual_transport = lmtp:unix:{folder}/lmtp
alias_maps =
"""
# service type private unpriv chroot wakeup maxproc command: master(5).
_MASTER: Final = """
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""


class Introspection(TokenServer):
    """Says whose a token is, for dovecot, and notes all tokens that it is shown."""

    def __init__(self, provider: OpenIDProvider) -> None:
        super().__init__(provider, BEARER)

    def respond(self, request: Request) -> Response:
        """Return the user of a good token."""
        content = self.provider.userinfo(request.token).content
        return Response(json.dumps(json.loads(content)).encode(), headers={"Content-Type": "application/json"})


class MailServer:
    """The server, until the end of the block. Only root can run it."""

    def __init__(self, provider: OpenIDProvider) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can run a mail server")
        missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
        if missing:
            pytest.skip(f"this needs: apt-get install {' '.join(missing)}")
        self._end = ExitStack()
        # Not pytest's tmp_path, which only root reaches.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="mail-"))
        self.introspection = Introspection(provider)
        self.imaps, self.smtps = _free_ports(2)
        self.authority = folder / "authority.pem"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._end.callback(shutil.rmtree, self.folder)
        with self._end:  # also if it does not get ready
            self._end.enter_context(self.introspection)
            self._write_configuration()
            self._start("dovecot", "-F", "-c", str(self.folder / "dovecot.conf"))
            self._start("postfix", "-c", str(self.folder / "etc"), "start-fg")
            # Its master outlives the program that starts it.
            stop = ["postfix", "-c", str(self.folder / "etc"), "stop"]
            self._end.callback(subprocess.run, stop, capture_output=True, check=False)
            self._wait_until_ready()
            self._end = self._end.pop_all()
        return self

    def _wait_until_ready(self) -> None:
        until(lambda: self._listens(self.imaps) and self._listens(self.smtps), timeout=2 * PATIENCE)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()

    @property
    def log(self) -> str:
        """What both have logged."""
        logs = (self.folder / name for name in ("dovecot.log", "postfix.log", "output"))
        return "\n".join(log.read_text() for log in logs if log.exists())

    @property
    def mails(self) -> list[str]:
        """The mails in all inboxes."""
        return [path.read_text() for path in self.folder.glob("home/*/Maildir/*/*") if path.is_file()]

    def deliver(self, user: str, subject: str) -> None:
        """Put a mail into a user's inbox."""
        inbox = self.folder / "home" / user / "Maildir"
        for name in ("", "new", "cur", "tmp"):
            (inbox / name).mkdir(parents=True, exist_ok=True)
        (inbox / "new" / f"1.{subject}.mail").write_text(
            f"From: bob@example.invalid\nTo: {user}\nSubject: {subject}\nMessage-ID: <{subject}@mail>\n\nHello\n"
        )
        for path in (inbox.parent, *inbox.parent.rglob("*")):
            os.chown(path, _UID, _UID)

    def _write_configuration(self) -> None:
        folder = self.folder
        folder.chmod(0o755)  # all that dovecot and postfix consist of must reach it
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        values = {
            "folder": folder,
            "uid": _UID,
            "imaps": self.imaps,
            "smtps": self.smtps,
            "introspection": f"{self.introspection.url}/",
        }
        for name in ("home", "etc", "queue", "data"):
            (folder / name).mkdir()
        os.chown(folder / "home", _UID, _UID)
        os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
        for name, template in {
            "dovecot.conf": _DOVECOT,
            "oauth2.conf": _OAUTH2,
            "etc/main.cf": _MAIN,
            "etc/master.cf": _MASTER,
        }.items():
            (folder / name).write_text(template.format(**values))

    def _start(self, *command: str) -> None:
        with (self.folder / "output").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._processes.append(process)
        self._end.callback(process.wait, PATIENCE)
        self._end.callback(process.terminate)

    def _listens(self, port: int) -> bool:
        dead = [process for process in self._processes if process.poll() is not None]
        assert not dead, self.log
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return True
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
