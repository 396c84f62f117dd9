import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def online_retail_path() -> Path:
    path = SHARED / "online_retail.parquet"
    if not path.is_file():
        reason = "the real Online Retail file is not at ../shared/data/online_retail.parquet"
        # Where everything is meant to run, a test that quietly does not is a failure.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return path
