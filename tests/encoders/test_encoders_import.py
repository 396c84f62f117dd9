import subprocess
import sys

import pytest

import encoders


def test_importing_the_room_loads_nothing_heavy():
    code = (
        "import sys, encoders; from encoders import Encoder, EmbeddingCache, listing_texts;"
        "e = Encoder(); assert e.dim == 384 and len(e.fingerprint) == 64;"
        "heavy = {'torch', 'faiss', 'sentence_transformers', 'transformers', 'peft'};"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_resolves():
    assert [name for name in dir(encoders) if getattr(encoders, name) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = encoders.Nothing
