"""The benchmark's parts of the agent work as the daemon's do."""

from pathlib import Path

from auth_agent.sessions.state import MAIN
from auth_agent.worker import sealed_files
from tests.bench.accounts import PASSPHRASE, access_token, names, seal
from tests.bench.composition import composed


def test_the_parts_in_this_process_serve_the_token_of_each_session(tmp_path: Path) -> None:
    with composed(tmp_path, 3) as (_, composition):
        table = composition.heart.table
        tokens = [table.session(name).token(MAIN, None, table.clock.now()) for name in names(3)]
    assert [token and token.value.reveal() for token in tokens] == [access_token(name) for name in names(3)]


def test_a_sealed_file_has_the_sessions_of_all_accounts(tmp_path: Path) -> None:
    seal(tmp_path / "state", names(2))
    opened = str(sealed_files.unlock(str(tmp_path / "state"), PASSPHRASE)["opened"])
    for name in names(2):
        assert access_token(name) in str(sealed_files.read(str(tmp_path / "state"), opened, name)["entry"])
