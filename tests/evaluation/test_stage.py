import numpy as np
import pytest

from evaluation.stage import Market, stage
from markets import load_catalogue

HISTORY = load_catalogue()
N = HISTORY.listings.height
VECTORS = np.random.default_rng(0).normal(size=(N, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
MARKET = Market("text", known=60, new=25)


def test_what_embeddings_were_fitted_to_is_no_new_listing():
    usual = stage(HISTORY, VECTORS, MARKET, 3)
    trained_on = np.arange(N) % 2 == 0
    found = stage(HISTORY, VECTORS, MARKET, 3, trained_on)
    assert not trained_on[found.new].any()
    assert trained_on[usual.new].any()
    assert len(found.new) == 25
    assert not set(found.new) & set(found.known)
    assert (stage(HISTORY, VECTORS, MARKET, 3, np.zeros(N, bool)).new == usual.new).all()


def test_an_adapter_that_has_seen_every_listing_is_refused():
    with pytest.raises(ValueError, match="trained on every new listing, which are then not new"):
        stage(HISTORY, VECTORS, MARKET, 3, np.ones(N, bool))
