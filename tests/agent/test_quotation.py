"""Secrets that providers quote, complete or in part, in any of the usual encodings, are redacted."""

import base64
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.quotation import redact
from auth_agent.secret import Secret

SECRET = 'v1.MjQ+/z-_~1aQx 9%&"vK7c'
FORMS = {
    "plain": SECRET,
    "URL": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
    "hexadecimal": SECRET.encode().hex(),
    "hexadecimal in capitals": SECRET.encode().hex().upper(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "Basic": base64.b64encode(f"client:{SECRET}".encode()).decode(),
    "Basic of another length": base64.b64encode(f"my-client:{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_secret_is_redacted_in_every_encoding(name: str) -> None:
    form, start = FORMS[name], 16 if "Basic" in name else 0  # the client id precedes the secret
    result = redact(f"the token {form} is no good", (Secret("another one"), Secret(SECRET)))
    assert "…" in result
    assert [form[at : at + 8] for at in range(start, len(form) - 8) if form[at : at + 8] in result] == []


@pytest.mark.parametrize(("start", "end"), [(0, 8), (0, 20), (5, 17), (10, None)])
def test_a_part_of_a_secret_is_redacted(start: int, end: int | None) -> None:
    assert redact(f"<{SECRET[start:end]}>", (Secret(SECRET),)) == "<…>"


def test_other_text_is_unchanged() -> None:
    text = "Unknown or invalid refresh token. (v1.MjQ)"
    assert redact(text, (Secret(SECRET), Secret(""))) == text


def test_a_short_secret_is_redacted_too() -> None:
    assert redact("pw: b:s+ %/, b%3As%2B+%25%2F", (Secret("b:s+ %/"),)) == "pw: …, …"


def test_beside_a_secret_that_is_too_long_to_search_for_no_text_is_shown() -> None:
    longest = "".join(chr(33 + number * number % 91) for number in range(4096))
    assert redact(f"not {longest[2000:2008]}", (Secret(longest),)) == "not …"
    assert redact("not valid", (Secret(SECRET), Secret("x" + longest))) == "…"
    assert redact("", (Secret("x" + longest),)) == ""


@pytest.mark.parametrize("text", [None, 7, b"bytes", ["a list"], {}])
def test_a_value_that_is_not_a_string_becomes_empty(text: object) -> None:
    assert redact(text, (Secret(SECRET),)) == ""


@given(st.text(min_size=8), st.text(), st.text())
def test_any_secret_in_any_text_is_redacted(secret: str, before: str, after: str) -> None:
    result = redact(f"{before}{secret}{after}", (Secret(secret),))
    assert secret not in result or secret in before + "…" + after


@given(st.text(max_size=500))
def test_without_secrets_nothing_is_redacted(text: str) -> None:
    assert redact(text, ()) == text
