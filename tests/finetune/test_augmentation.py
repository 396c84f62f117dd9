import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from encoders import DEFAULT_MODEL, model_folder
from finetune import Augmentation
from finetune.synonyms import LEAST_ALIKE, MOST, Synonyms

TEXT = "set of 3 red tins | brand: Acme | category: Kitchen | for tea and coffee"
TEXTS = st.lists(st.text(max_size=60), max_size=8)
CHANCES = st.floats(0, 0.95)


def applied(texts, seed=0, like=None, **chances):
    return Augmentation(**chances).apply(texts, np.random.default_rng(seed), like)


def test_by_default_texts_stay_as_they_are():
    assert applied([TEXT, "", " | "]) == [TEXT, "", " | "]


@given(TEXTS, CHANCES, CHANCES, CHANCES, st.integers(0, 99))
def test_no_word_is_made_up_and_the_same_draw_gives_the_same(texts, drop, order, mask, seed):
    chances = {"word_dropout": drop, "reorder": order, "field_masking": mask}
    found = applied(texts, seed, **chances)
    assert found == applied(texts, seed, **chances)
    for before, after in zip(texts, found, strict=True):
        assert set(after.split()) <= set(before.split())
        assert bool(after) or not before.split(" | ")[0].split()


def test_words_are_dropped_at_the_rate_that_is_asked_for_and_one_stays():
    left = [len(t.split()) for t in applied(["a b c d e f g h i j"] * 400, word_dropout=0.3)]
    assert np.mean(left) == pytest.approx(7, abs=0.3)
    assert set(applied(["mug"] * 200, word_dropout=0.9)) == {"mug"}


def test_fields_after_the_title_are_masked_whole():
    found = applied([TEXT] * 400, field_masking=0.5)
    assert all(text.startswith("set of 3 red tins") for text in found)
    kept = [field in text for text in found for field in TEXT.split(" | ")[1:]]
    assert np.mean(kept) == pytest.approx(0.5, abs=0.06)
    assert TEXT in found


def test_reordered_words_stay_in_their_field():
    before = [sorted(part.split()) for part in TEXT.split(" | ")]
    found = applied([TEXT] * 20, reorder=0.5)
    assert 1 < len(set(found)) < 20
    for text in found:
        assert [sorted(part.split()) for part in text.split(" | ")] == before


def test_synonyms_take_a_words_place_at_their_rate():
    found = applied(["tin cup"] * 400, synonyms=0.25, like={"tin": ["can"], "cup": []}.get)
    assert set(found) == {"tin cup", "can cup"}
    assert found.count("can cup") == pytest.approx(100, abs=30)


@pytest.mark.parametrize("name", ["word_dropout", "reorder", "synonyms", "field_masking"])
@pytest.mark.parametrize("chance", [-0.1, 1.0, float("nan")])
def test_a_chance_out_of_range_is_named(name, chance):
    with pytest.raises(ValueError, match=f"{name} is {chance}: give a chance"):
        Augmentation(**{name: chance})


def test_the_models_own_words_give_synonyms():
    like = Synonyms(SentenceTransformer(str(model_folder(DEFAULT_MODEL)), device="cpu"))
    assert "boxes" in like("box")
    assert set(like("BOX")) == {word.upper() for word in like("box")}
    assert like("qzxv") == like("3") == ()
    assert all(len(like(word)) <= MOST for word in ("cup", "red", "the"))
    assert 0 < LEAST_ALIKE < 1
