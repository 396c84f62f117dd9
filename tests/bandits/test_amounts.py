import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits import amounts

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "content", "pieces"),
    [
        ("peas 16 OZ", 453.6, NAN),
        ("peas 6/1.5 oz", 9 * 28.35, NAN),
        ("12 x 330 ml beer", 3960.0, NAN),
        ("2x 0,75l wine", 1500.0, NAN),
        ("water 1/2 L", 500.0, NAN),
        ("flour 1 1/2 LB", 1.5 * 453.6, NAN),
        (".50 fl oz", 14.175, NAN),
        ("rice 1,000 g", 1000.0, NAN),
        ("milk 1,5 l", 1500.0, NAN),
        ("honey 250g, gift of 12 oz", 250.0, NAN),
        ("eggs 12 ct", NAN, 12.0),
        ("24-pack", NAN, 24.0),
        ("Set of 3 regency cake tins", NAN, 3.0),
        ("Set/4 blue candles", NAN, 4.0),
        ("S/6 mini bowls", NAN, 6.0),
        ("pack of 60 cake cases", NAN, 60.0),
        ("90 tablets of 500 mg", 0.5, 90.0),
        ("", NAN, NAN),
        ("0 g", NAN, NAN),
        ("red mug", NAN, NAN),
        ("3d sheet, size XL, model a12oz", NAN, NAN),
    ],
)
def test_what_a_text_states(text, content, pieces):
    np.testing.assert_allclose(np.exp(amounts([text])), [[content, pieces]], rtol=1e-6)


@given(
    st.lists(
        st.text(st.characters(codec=None), max_size=30)
        | st.from_regex(r"[0-9x/., ]{0,9}(oz|g|l|ct)", fullmatch=True)
    )
)
def test_any_text_has_finite_amounts_or_none(texts):
    found = amounts(texts)
    assert found.shape == (len(texts), 2)
    assert found.dtype == np.float32
    assert not np.isinf(found).any()


def test_only_the_beginning_of_a_long_text_is_read():
    assert np.isnan(amounts(["9" * 100_000 + " 5 oz", "word " * 20_000 + "5 oz"])).all()
