import os
from pathlib import Path

import pytest

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail.parquet"


@pytest.fixture(autouse=True, scope="session")
def few_general_sentences():
    """General meaning by 40 sentences, not 2,000: encoding them is most of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune.judging.PAIRS", 20)
        patch.setattr("finetune.training.SENTENCES", 64)
        yield


@pytest.fixture(scope="session")
def online_retail_path():
    if not RETAIL.is_file():
        reason = f"the real data are not at {RETAIL}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return RETAIL
