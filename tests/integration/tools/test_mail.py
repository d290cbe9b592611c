"""Mail programs, unmodified, with the configuration of docs/tools/mail.md, at dovecot and postfix."""

import os
import pwd
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.agent_process import until
from tests.integration.terminal import Terminal
from tests.integration.tools.mail_server import MailServer
from tests.integration.tools.tool_home import ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider
from tests.snippets import Snippet, snippets

PAGE = "docs/tools/mail.md"
ME = "auth0.alice@example.invalid"  # as the provider's UserInfo has it
ROTATIONS = 3
FILES = {
    "msmtp": ".msmtprc",
    "neomutt": ".neomuttrc",
    "getmail": ".config/getmail/getmailrc",
    "mbsync": ".mbsyncrc",
}
PACKAGES = {"msmtp": "msmtp", "neomutt": "neomutt", "getmail": "getmail6", "mbsync": "isync"}


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def mail(home: ToolHome) -> Generator[MailServer, None, None]:
    with MailServer(home.provider) as server:
        server.deliver(ME, "first")
        yield server


def adapted(text: str, mail: MailServer) -> str:
    """Return a configuration, or a command, of the page for the server here."""
    for there, here in {
        "imaps://imap.example.com/": f"imaps://localhost:{mail.imaps}/",
        "@smtp.example.com/": f"@localhost:{mail.smtps}/",
        "imap.example.com": "localhost",
        "smtp.example.com": "localhost",
        "port 465": f"port {mail.smtps}",
        "port = 993": f"port = {mail.imaps}",
        "Port 993": f"Port {mail.imaps}",
        "anna@example.com": ME,
    }.items():
        text = text.replace(there, here)
    return text


def set_up(tool: str, home: ToolHome, mail: MailServer) -> list[str]:
    """Write the page's configuration of a tool, have it trust the server here, and return the page's commands."""
    if shutil.which(tool) is None:
        pytest.skip(f"this needs: apt-get install {PACKAGES[tool]}")
    parts: list[Snippet] = [snippet for snippet in snippets(PAGE) if snippet.heading == tool]
    (configuration,) = [adapted(part.text, mail) for part in parts if part.language == "conf"]
    configuration = {
        "msmtp": f"{configuration}tls_trust_file {mail.authority}\n",
        "neomutt": f'{configuration}set certificate_file = "{mail.authority}"\nset copy = no\n',
        "getmail": configuration.replace("use_xoauth2", f"ca_certs = {mail.authority}\nuse_xoauth2"),
        "mbsync": configuration.replace("SSLType IMAPS", f"SSLType IMAPS\nCertificateFile {mail.authority}"),
    }[tool]
    if tool == "getmail":  # which delivers nothing as root
        configuration = configuration.replace("~/mail/", f"{mail.folder}/mail/\nuser = nobody")
        nobody = pwd.getpwnam("nobody")
        for name in ("", "new", "cur", "tmp"):
            (mail.folder / "mail" / name).mkdir()
            os.chown(mail.folder / "mail" / name, nobody.pw_uid, nobody.pw_gid)
    if tool == "mbsync":
        if not list(Path("/usr/lib").glob("*/sasl2/libkdexoauth2.so*")):
            pytest.skip("this needs: apt-get install libsasl2-modules-kdexoauth2")
        (home.path / "mail").mkdir()
    file = home.path / FILES[tool]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(configuration)
    file.chmod(0o600)
    return [adapted(command, mail) for part in parts if part.language == "console" for command, _ in part.commands]


@pytest.mark.parametrize("tool", ["msmtp", "neomutt"])
@rotating
def test_mail_is_sent_with_a_token_that_is_good_while_they_rotate(tool: str, home: ToolHome, mail: MailServer) -> None:
    (command,) = set_up(tool, home, mail)
    sent = 0
    while len(mail.introspection.tokens) < ROTATIONS:
        home.succeed("sh", "-c", command)
        sent += 1
    assert mail.introspection.statuses == {200}
    until(lambda: len([one for one in mail.mails if "Subject: hello" in one]) == sent)
    assert home.files_with(mail.introspection.tokens) == []


@pytest.mark.parametrize("tool", ["getmail", "mbsync"])
@rotating
def test_mail_is_fetched_with_a_token_that_is_good_while_they_rotate(
    tool: str, home: ToolHome, mail: MailServer
) -> None:
    (command,) = set_up(tool, home, mail)
    folder = {"getmail": mail.folder / "mail", "mbsync": home.path / "mail" / "INBOX"}[tool]
    delivered = ["first"]
    while True:
        home.succeed("sh", "-c", command)
        fetched = "".join(path.read_text() for path in folder.rglob("*.*") if path.is_file())
        assert [subject for subject in delivered if f"Subject: {subject}\n" not in fetched] == []
        if len(mail.introspection.tokens) >= ROTATIONS:
            break
        delivered.append(f"mail{len(delivered)}")
        mail.deliver(ME, delivered[-1])
    assert mail.introspection.statuses == {200}
    assert home.files_with(mail.introspection.tokens) == []


def test_neomutt_reads_the_inbox(home: ToolHome, mail: MailServer) -> None:
    set_up("neomutt", home, mail)
    with Terminal(["neomutt"], home.environment) as terminal:
        terminal.until("Msgs:1")
        terminal.until("first")
        terminal.type("q")
        assert terminal.end() == 0
    assert mail.introspection.statuses == {200}


@pytest.mark.parametrize("tool", sorted(FILES))
def test_without_a_login_the_program_says_what_helps(tool: str, home: ToolHome, mail: MailServer) -> None:
    (command,) = set_up(tool, home, mail)
    home.log_out()
    result = home.run("sh", "-c", command)
    assert result.returncode != 0
    # getmail shows no more than the exit code.
    expected = "auth-agent exited with 4" if tool == "getmail" else "auth-agent login work"
    assert expected in result.stdout + result.stderr
    assert mail.introspection.seen == []


def test_the_server_refuses_what_is_not_a_token(home: ToolHome, mail: MailServer) -> None:
    (command,) = set_up("msmtp", home, mail)
    bad = command.replace("msmtp ", "msmtp --passwordeval='echo not-a-token' ")
    result = home.run("sh", "-c", bad)
    assert result.returncode != 0
    assert mail.introspection.statuses == {401}
    home.succeed("sh", "-c", command)
    assert mail.introspection.statuses == {200, 401}
