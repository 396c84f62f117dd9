import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def online_retail_path() -> Path:
    return _real("online_retail.parquet")


@pytest.fixture(scope="session")
def orange_juice_path() -> Path:
    return _real("orange_juice.parquet")


def _real(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        reason = f"the real data are not at ../shared/data/{name}"
        # Where everything is meant to run, a test that quietly does not is a failure.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return path
