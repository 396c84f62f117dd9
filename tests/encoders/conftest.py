import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once


@pytest.fixture(scope="session")
def encoder():
    from encoders import Encoder

    return Encoder(device="cpu")
