"""Which model is active, by what the log says."""

import pytest

from service import models
from service.log import Log


@pytest.fixture
def source(database_url, tmp_path):
    """An empty log, in which two models are staged."""
    url = (database_url or "").replace("postgresql://", "postgresql+psycopg://")
    opened = Log(url or f"sqlite:///{tmp_path / 'log.sqlite3'}")
    with opened.transaction() as conn:
        models.stage(conn, "one", False, 1)
        models.stage(conn, "other", True, 2)
    yield opened
    opened.close()


def test_the_model_activated_last_is_active_whatever_the_clock_says(source):
    assert models.active(source) is None
    for at_us, version in enumerate(["one", "other", "one"]):
        with source.transaction() as conn:
            models.activate(conn, version, 7_200_000_000 - at_us)  # the clock is put back
        assert models.active(source).version == version
