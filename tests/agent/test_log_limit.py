"""The limit of the log: so many lines a minute of each kind about one account or client, and of each kind about all."""

from hypothesis import given, strategies as st

from auth_agent.log_limit import CLIENT_LINES, SUBJECT_LINES, WINDOW, LeftOut, LogLimit


def written(limit: LogLimit, lines: list[tuple[str, str]], now: float = 0.0) -> list[bool]:
    """Return which of these lines may be written."""
    return [limit.remaining(kind, subject, now) > 0 for kind, subject in lines]


def test_of_each_kind_about_each_subject_so_many_are_written() -> None:
    limit = LogLimit()
    for kind, subject in [("refresh", "account=a"), ("refresh", "account=b"), ("reload", ""), ("closing", "pid=1")]:
        assert written(limit, [(kind, subject)] * (SUBJECT_LINES + 2)) == [True] * SUBJECT_LINES + [False] * 2
    assert set(limit.ended(WINDOW)) == {
        LeftOut("refresh", "account=a", 2),
        LeftOut("refresh", "account=b", 2),
        LeftOut("reload", "", 2),
        LeftOut("closing", "pid=1", 2),
    }


def test_the_last_line_before_the_limit_is_known() -> None:
    limit = LogLimit()
    assert [limit.remaining("reload", "", 0.0) for _ in range(SUBJECT_LINES + 1)] == [*range(SUBJECT_LINES, -1, -1)]


def test_a_new_window_begins_with_the_first_line_after_the_old_one() -> None:
    limit = LogLimit()
    written(limit, [("reload", "")] * (SUBJECT_LINES + 1))
    assert limit.ended(WINDOW - 1) == []
    assert limit.ended(WINDOW) == [LeftOut("reload", "", 1)]
    assert limit.ended(WINDOW) == []
    assert all(written(limit, [("reload", "")] * SUBJECT_LINES, WINDOW))


def test_clients_that_come_and_go_share_a_limit() -> None:
    limit = LogLimit()
    lines = [("closing", f"pid={number}") for number in range(10_000)]
    assert sum(written(limit, lines)) == CLIENT_LINES
    assert limit.ended(WINDOW) == [LeftOut("closing", "", 10_000 - CLIENT_LINES)]


def test_many_accounts_share_none() -> None:
    assert all(written(LogLimit(), [("restored", f"account={number}") for number in range(1000)]))


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "pid=1", "pid=2", "account=x"]), st.floats(0, 100)))
)
def test_each_line_is_written_or_counted(lines: list[tuple[str, str, float]]) -> None:
    limit, counted, count = LogLimit(), 0, 0
    for kind, subject, now in sorted(lines, key=lambda line: line[2]):
        counted += sum(each.lines for each in limit.ended(now))
        count += limit.remaining(kind, subject, now) > 0
    assert count + counted + sum(each.lines for each in limit.ended(1000.0)) == len(lines)
