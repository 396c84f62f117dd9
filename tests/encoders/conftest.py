import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for hashing_encoder, whatever the import mode
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once


@pytest.fixture(scope="session")
def encoder():
    from encoders import Encoder

    return Encoder(device="cpu")
