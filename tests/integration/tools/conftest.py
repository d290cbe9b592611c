"""How long the tokens of a tool's test live."""

import pytest

_LASTING = 3600  # s, longer than any command takes on a busy machine


@pytest.fixture
def lifetime(request: pytest.FixtureRequest) -> int:
    """How many seconds access tokens live; few in a test that is `rotating`."""
    return getattr(request, "param", _LASTING)
