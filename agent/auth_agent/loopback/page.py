"""The pages that a browser shows after a login: one style, light and dark, no external resource, no script."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from html import escape
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from auth_agent.printable import printable
from auth_agent.remedies import begin, open_shown_url, paste_url
from auth_agent_client.remedy import Remedy

# Characters: room for any reason and any command, and a bound on hostile ones.
_MAX_REASON: Final = 1000
_MAX_COMMAND: Final = 1000

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #f3f4f6; --card: #ffffff; --edge: #d9dde3; --text: #1c2128; --quiet: #59636e; --code: #f0f2f5;
  --plain: #59636e; --good: #1a7f37; --bad: #c2261c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1116; --card: #171b22; --edge: #2d333d; --text: #e8ebef; --quiet: #9aa4b0; --code: #0e1116;
    --plain: #9aa4b0; --good: #4cc46b; --bad: #ff7b70;
  }
}
*, ::before, ::after { box-sizing: border-box; }
body {
  margin: 0; min-height: 100vh; min-height: 100svh; padding: 1.5rem;
  display: grid; grid-template-columns: minmax(0, 29rem); place-content: center;
  background: var(--ground); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
.plain { --accent: var(--plain); }
.good { --accent: var(--good); }
.bad { --accent: var(--bad); }
main {
  padding: 2.5rem; overflow-wrap: anywhere;
  background: var(--card); border: 1px solid var(--edge); border-radius: 1rem;
  box-shadow: 0 1px 2px rgb(0 0 0 / 5%), 0 12px 32px rgb(0 0 0 / 8%);
}
svg { display: block; width: 3rem; height: 3rem; margin-bottom: 1.25rem; color: var(--accent); }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; text-wrap: balance; }
p { margin: 0.75rem 0 0; }
strong { font-weight: 600; }
dl {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.375rem 1.25rem;
  margin: 1.5rem 0 0; padding-top: 1.25rem; border-top: 1px solid var(--edge);
}
dt { color: var(--quiet); }
dd { margin: 0; font-weight: 500; }
.label { margin-top: 1.5rem; color: var(--quiet); }
code {
  display: block; margin-top: 0.5rem; padding: 0.75rem 1rem;
  background: var(--code); border: 1px solid var(--edge); border-radius: 0.5rem;
  font: 0.9375rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  white-space: pre-wrap; -webkit-user-select: all; user-select: all;
}
code span { display: inline-block; max-width: 100%; }
.end { margin-top: 1.5rem; color: var(--quiet); }
@media (max-width: 30rem) {
  body { padding: 1rem; }
  main { padding: 1.75rem 1.5rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd + dt { margin-top: 0.75rem; }
}
"""

# The page may use its own style and its own icon, and nothing else.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(sha256(_STYLE.encode()).digest()).decode()}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{headline} · auth-agent</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="data:image/svg+xml,{icon}">
<style>{style}</style>
</head>
<body class="{mood}">
<main>
{mark}
<h1>{headline}</h1>
{content}
</main>
</body>
</html>
"""

_MARK: Final = """<svg viewBox="0 0 48 48" fill="none" stroke="{color}" aria-hidden="true"{more}>\
<circle cx="24" cy="24" r="24" fill="{color}" fill-opacity=".14" stroke="none"/>\
<path d="{path}" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"/></svg>"""
_TICK: Final = "M15 25l6.5 6.5L34 18"
_CROSS: Final = "M17 17l14 14M31 17L17 31"
_DASH: Final = "M15 24h18"
# The mark of each mood, and its color in the tab's icon, which can't follow the page's light or dark style.
_MOODS: Final = {"good": (_TICK, "#2da44e"), "bad": (_CROSS, "#e5534b"), "plain": (_DASH, "#7d8794")}


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP status, a complete HTML document in UTF-8, and for a redirect the URL that it leads to."""

    status: int
    body: bytes
    location: str | None = None


def logged_in(account: str, name: str | None, issuer: str) -> Page:
    """Return the page for a successful login.

    Args:
        account: which account of the configuration it is for.
        name: the user's name, if the provider sent one.
        issuer: the provider.

    """
    who = _text(name or "")
    lead = f"You are logged in as <strong>{who}</strong>." if who else "You are logged in."
    return _page(HTTPStatus.OK, "good", "Logged in", f"<p>{lead}</p>", _facts(account, issuer), _END)


def failed(account: str, issuer: str, reason: str, remedy: Sequence[Remedy]) -> Page:
    """Return the page for a failed login.

    The status is 200: for another one, some browsers show a page of their own.

    Args:
        account: which account of the configuration it was for.
        issuer: the provider.
        reason: what went wrong; it may quote the provider or a forged redirect, so it is escaped.
        remedy: what helps; nothing else on the page looks like a command.

    """
    shown = f"<p>{_sentence(reason)}</p>"
    return _page(HTTPStatus.OK, "bad", "Not logged in", shown, _facts(account, issuer), *map(_remedy, remedy), _END)


def not_awaited() -> Page:
    """Return the page for a redirect that belongs to no login in progress: an old one, or a forged one."""
    return _page(
        HTTPStatus.BAD_REQUEST,
        "plain",
        "No login is waiting",
        "<p>This URL is not of a login in progress. It may have been used already, or the login was "
        "cancelled or timed out. Nothing was changed.</p>",
        _remedy(begin()),
        _END,
    )


def to_provider(url: str) -> Page:
    """Return the redirect to the provider, with a page for a browser that does not follow it."""
    shown = "<p>Your browser should show the login of the provider now.</p>"
    return replace(_page(HTTPStatus.SEE_OTHER, "plain", "To the login", shown), location=url)


def used_already() -> Page:
    """Return the page for a second visit where a login begins."""
    return _page(
        HTTPStatus.GONE,
        "plain",
        "Used already",
        "<p>This URL begins a login once. Nothing was changed, and the login is still waiting.</p>",
        _remedy(open_shown_url()),
    )


def another_user(*, at_start: bool = False) -> Page:
    """Return the page for another user's connection; it doesn't name the account.

    Args:
        at_start: whether the browser was about to begin the login.

    """
    return _page(
        HTTPStatus.FORBIDDEN,
        "bad",
        "Not accepted",
        "<p>This did not come from a browser of the user who is logging in, but from another user of this machine, or "
        "through another user's program. Nothing was changed. The login is still waiting.</p>",
        *map(_remedy, [open_shown_url()] if at_start else paste_url()),
    )


def not_found() -> Page:
    """Return the page for any other path."""
    return _page(
        HTTPStatus.NOT_FOUND,
        "plain",
        "Nothing is here",
        "<p>This server only receives the redirect at the end of a login.</p>",
        _END,
    )


def error_page(status: HTTPStatus, why: str) -> Page:
    """Return a page for an error; `why` is a sentence."""
    return _page(status, "plain", status.phrase, f"<p>{_sentence(why)}</p>")


_END: Final = '<p class="end">You can close this tab.</p>'


def _page(status: HTTPStatus, mood: str, headline: str, *content: str) -> Page:
    path, color = _MOODS[mood]
    mark = _MARK.format(color="currentColor", path=path, more="")
    icon = _MARK.format(color=color, path=path, more=' xmlns="http://www.w3.org/2000/svg"')
    document = _PAGE.format(
        headline=headline,
        icon=quote(icon, safe=""),
        style=_STYLE,
        mood=mood,
        mark=mark,
        content="\n".join(part for part in content if part),
    )
    return Page(status, document.encode())


def _facts(account: str, issuer: str) -> str:
    provider = issuer.removeprefix("https://").rstrip("/")  # as people call it; `http://` is worth to be seen
    return f"<dl>\n<dt>Provider</dt>\n<dd>{_text(provider)}</dd>\n<dt>Account</dt>\n<dd>{_text(account)}</dd>\n</dl>"


def _remedy(remedy: Remedy) -> str:
    """What helps, and below it the command to run in a terminal, if one does it."""
    label = printable(f"{remedy.text[:1].upper()}{remedy.text[1:]}", _MAX_COMMAND)
    if not remedy.command:
        return f'<p class="label">{escape(label)}.</p>'
    # A browser would break lines within `--an-option`; as long as a word has room on a line, it stays whole.
    words = printable(remedy.line, _MAX_COMMAND).split(" ")
    shown = " ".join(f"<span>{escape(word)}</span>" if word else "" for word in words)
    return f'<p class="label">{escape(label)}, in a terminal:</p>\n<code>{shown}</code>'


def _text(text: str) -> str:
    """A name from outside, in its own direction of writing; nothing where it has nothing to show."""
    shown = escape(printable(text).strip())
    return f"<bdi>{shown}</bdi>" if shown else ""


def _sentence(text: str) -> str:
    """A text that ends as sentences do, and begins so unless its first word is a name, such as `invalid_grant`."""
    shown = printable(text, _MAX_REASON).strip()
    first = shown.partition(" ")[0]
    if first.isalpha() and first.islower():
        shown = shown[0].upper() + shown[1:]
    if shown and shown[-1] not in ".!?…":
        shown = f"{shown}."
    return f"<bdi>{escape(shown)}</bdi>" if shown else ""
