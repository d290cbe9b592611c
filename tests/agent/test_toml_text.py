"""Editing TOML: keys and tables are added and removed, and every other character stays."""

import tomllib

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent import toml_text

WORK = ("accounts", "work")
OTHERS = (
    "# a comment about everything\n",
    '[accounts.home]\nissuer = "h" # home\n\n# not used: audience = "x"\n',
    "  [ accounts . \"a b\" ]\n  client_id   =   'c'\n",
    """[accounts.deep]\nports = [\n  1, # [accounts.work]\n]\n[accounts.deep.more]\nh = '''\n[accounts.work]\n'''\n""",
    "\n\n",
    "[other]\nwork.issuer = '''it's\n# work'''\n",
    'last = "é無 \\" # no comment"\n',
)
OWN = (
    '[accounts.work]\nissuer = "w"\n# of work\nclient_id = "c"\n',
    '[accounts.work]\nissuer = "w"\nauthorize.prompt = "x"\n[accounts.work.more]\na = 1\n',
)
VALUES = st.sampled_from(["text", 'a "quoted" \\ text\n', "無", [1, 2], True, {"a": "b"}, {"a": "b", "c d": "e"}, None])
CHANGES = st.lists(
    st.none()
    | st.dictionaries(st.sampled_from(["issuer", "client_id", "scope", "x y", "authorize"]), VALUES, min_size=1),
    min_size=1,
    max_size=5,
)


def relevant_lines(text: str) -> list[str]:
    """Return the non-empty lines, without the comment that is kept if it ends its table."""
    return [line for line in text.splitlines(keepends=True) if line.strip() not in {"", "# of work"}]


@settings(max_examples=200)
@given(CHANGES, st.permutations(OTHERS), st.integers(0, 7), st.sampled_from(["", *OWN]), st.booleans())
def test_any_changes_leave_the_rest_of_the_file_unchanged(
    changes: list[dict[str, object] | None], others: list[str], position: int, own: str, crlf: bool
) -> None:
    # `last` must be below a header in every order.
    pieces = ["[first]\n", *others]
    text = "".join([*pieces[: position + 1], own, *(["[next]\n"] if own else []), *pieces[position + 1 :]])
    rest = "".join([*pieces[: position + 1], *(["[next]\n"] if own else []), *pieces[position + 1 :]])
    if crlf:
        text, rest = text.replace("\n", "\r\n"), rest.replace("\n", "\r\n")
    expected = tomllib.loads(text)
    for keys in changes:
        work: dict[str, object] = expected.setdefault("accounts", {}).setdefault("work", {})
        if keys is None:
            text = toml_text.remove(text, WORK)
            del expected["accounts"]["work"]
        else:
            text = toml_text.put(text, WORK, keys)
            work.update(keys)
            for key in [key for key, value in work.items() if value is None]:
                del work[key]
            if not work:
                del expected["accounts"]["work"]
        parsed = tomllib.loads(text)
        if not parsed["accounts"].get("work", True):
            del parsed["accounts"]["work"]  # its header, without keys
        assert parsed == expected
    assert relevant_lines(toml_text.remove(text, WORK)) == relevant_lines(rest)


@given(st.permutations(OTHERS), st.integers(0, len(OTHERS)))
def test_adding_and_removing_a_table_restores_the_text(others: list[str], count: int) -> None:
    text = "".join(["[first]\n", *others[:count]])
    added = toml_text.put(text, WORK, {"issuer": "x", "authorize": {"prompt": "login"}})
    assert added.startswith(text)
    assert toml_text.remove(added, WORK) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[accounts.work]\nissuer = "N"\nscope = "s"\n'),
        ("# mine", '# mine\n\n[accounts.work]\nissuer = "N"\nscope = "s"\n'),
        ("# mine\r\n", '# mine\r\n\r\n[accounts.work]\r\nissuer = "N"\r\nscope = "s"\r\n'),
        ('[accounts.work]\n  issuer="a"', '[accounts.work]\n  issuer="N"\n  scope = "s"'),
        ("[accounts.work]", '[accounts.work]\nissuer = "N"\nscope = "s"'),
        (
            '[accounts]\nwork.issuer = "a" # w\nhome.issuer = "h"\n',
            '[accounts]\nwork.issuer = "N" # w\nwork.scope = "s"\nhome.issuer = "h"\n',
        ),
        (
            'accounts."work".issuer = "a"\n[other]\n',
            'accounts."work".issuer = "N"\naccounts."work".scope = "s"\n[other]\n',
        ),
        (
            '[accounts.work]\nscope = """\nmany\nlines""" # old\n# end\n',
            '[accounts.work]\nscope = "s" # old\nissuer = "N"\n# end\n',
        ),
        (
            '[accounts.work]\nissuer = "N"\n[accounts.work.scope]\na = 1\n\n[other]\n',
            '[accounts.work]\nissuer = "N"\nscope = "s"\n\n[other]\n',
        ),
    ],
)
def test_keys_are_written_in_the_style_of_their_neighbors(before: str, after: str) -> None:
    text = toml_text.put(before, WORK, {"issuer": "N", "scope": "s"})
    assert text == after
    assert tomllib.loads(text)["accounts"]["work"] == {"issuer": "N", "scope": "s"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[accounts.work]\nissuer = "a"\n', ""),
        ('# all\n\n[accounts.work]\nissuer = "a"\n\n# home\n[accounts.home]\n', "# all\n\n# home\n[accounts.home]\n"),
        ('[accounts]\nwork.issuer = "a"\nhome.issuer = "h"\nwork.scope = "s"\n', '[accounts]\nhome.issuer = "h"\n'),
        ('[accounts]\nwork = { issuer = "a" }\n', "[accounts]\n"),
        ("[accounts.home]\n", "[accounts.home]\n"),
    ],
)
def test_a_table_is_removed_in_every_form(before: str, after: str) -> None:
    assert toml_text.remove(before, WORK) == after


def test_a_key_is_removed_with_its_line() -> None:
    text = '[accounts.work]\nscope = "s" # old\nissuer = "a"\n'
    assert toml_text.put(text, WORK, {"scope": None, "audience": None}) == '[accounts.work]\nissuer = "a"\n'


def test_a_name_that_is_not_a_bare_key_is_quoted() -> None:
    text = toml_text.put("", ("accounts", "a.b"), {"issuer": "x"})
    assert text == '[accounts."a.b"]\nissuer = "x"\n'
    assert toml_text.put(text, ("accounts", "a.b"), {"issuer": "y"}) == '[accounts."a.b"]\nissuer = "y"\n'


# ---- another name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[accounts.work] # mine\na = 1\n", "[accounts.new] # mine\na = 1\n"),
        ("[ accounts . 'work' . more ]\na = 1\n", "[ accounts . new . more ]\na = 1\n"),
        ("[accounts]\n  work.a = 1\n  work . b.c = 2\n", "[accounts]\n  new.a = 1\n  new . b.c = 2\n"),
        ("accounts.work.a = 'work'\r\n", "accounts.new.a = 'work'\r\n"),
        ("[accounts]\nwork = { a = 1 }\n", "[accounts]\nnew = { a = 1 }\n"),
        ("[work]\na = 1\n[accounts.works]\nwork = 1\n", "[work]\na = 1\n[accounts.works]\nwork = 1\n"),
        ("[x]\naccounts.work = 1 # [accounts.work]\n", "[x]\naccounts.work = 1 # [accounts.work]\n"),
    ],
)
def test_a_renamed_table_stays_where_it_is(before: str, after: str) -> None:
    assert toml_text.rename(before, WORK, "new") == after


@given(
    st.permutations(OTHERS), st.integers(0, len(OTHERS)), st.sampled_from(OWN), st.sampled_from(["new", "a.b", 'c"d'])
)
def test_a_table_that_is_renamed_and_back_leaves_not_a_trace(
    others: list[str], count: int, own: str, name: str
) -> None:
    text = "".join(["[first]\n", *others[:count], own, "[next]\n", *others[count:]])
    renamed = toml_text.rename(text, WORK, name)
    expected = tomllib.loads(text)
    expected["accounts"][name] = expected["accounts"].pop("work")
    assert tomllib.loads(renamed) == expected
    assert toml_text.rename(renamed, ("accounts", name), "work") == text
