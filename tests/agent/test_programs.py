"""Which share a program has: its own, or that of all young ones."""

from auth_agent.host.program_id import ELSEWHERE, ENDED, Origin, ProgramID
from auth_agent.ipc.programs import Programs
from auth_agent.sessions.rate_limit import PROGRAM_BURST

NOW = 1000.0


def session(number: int, since: float) -> Origin:
    return Origin(ProgramID("session", str(number)), since)


def terminal(number: int, since: float) -> Origin:
    return Origin(ProgramID("terminal", str(number)), since)


def test_old_programs_have_a_share_each() -> None:
    programs = Programs()
    shares = [programs.asker(session(number, NOW - 10), NOW).program for number in range(3)]
    assert len(set(shares)) == 3


def test_all_young_programs_share_one() -> None:
    programs = Programs()
    shares = {programs.asker(session(number, NOW - 9.9), NOW).program for number in range(1000)}
    assert len(shares) == 1


def test_a_young_program_gets_its_own_share_when_it_is_old() -> None:
    programs = Programs()
    origin = session(1, NOW)
    young = programs.asker(origin, NOW).program
    assert programs.asker(origin, NOW + 10).program == origin.program != young


def test_a_unit_is_as_old_as_the_first_process_that_was_seen_of_it() -> None:
    programs = Programs()
    unit = ProgramID("unit", "loop.service")
    shares = [programs.asker(Origin(unit, NOW + second), NOW + second).program for second in range(20)]
    assert [share == unit for share in shares] == [False] * 10 + [True] * 10


def test_many_young_programs_do_not_make_the_agent_forget_an_older_one() -> None:
    programs = Programs()
    unit = ProgramID("unit", "loop.service")
    programs.asker(Origin(unit, NOW), NOW)
    for number in range(2000):
        programs.asker(session(number, NOW + 1), NOW + 1)
    assert programs.asker(Origin(unit, NOW + 10), NOW + 10).program == unit


def test_programs_that_are_not_there_any_more_are_forgotten_first() -> None:
    programs = Programs()
    for number in range(256):
        programs.asker(session(number, NOW), NOW)
    later, unit = NOW + 7200, ProgramID("unit", "loop.service")
    programs.asker(Origin(unit, later), later)
    assert programs.asker(Origin(unit, later + 10), later + 10).program == unit


def test_young_terminals_share_one_that_is_not_that_of_other_young_programs() -> None:
    programs = Programs()
    first, second = programs.asker(terminal(1, NOW), NOW), programs.asker(terminal(2, NOW), NOW)
    assert first.program == second.program != programs.asker(session(3, NOW), NOW).program
    assert first.is_at_terminal
    assert second.is_at_terminal


def test_containers_are_one_program_and_ended_processes_another() -> None:
    programs = Programs()
    assert programs.asker(ELSEWHERE, NOW).program == ELSEWHERE.program
    assert programs.asker(ENDED, NOW).program == ENDED.program != ELSEWHERE.program


def test_a_program_keeps_its_rate_limit_until_it_is_whole_again() -> None:
    programs = Programs()
    origin = session(1, 0)
    rate_limit = programs.asker(origin, NOW).rate_limit
    for _ in range(PROGRAM_BURST):
        rate_limit.spend(NOW)
    for number in range(2, 500):
        programs.asker(session(number, 0), NOW + 1)
    assert programs.asker(origin, NOW + 1).rate_limit is rate_limit
    programs.asker(session(1000, 0), NOW + PROGRAM_BURST + 1)
    assert programs.asker(origin, NOW + PROGRAM_BURST + 1).rate_limit is not rate_limit
