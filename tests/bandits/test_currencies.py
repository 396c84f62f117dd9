import numpy as np
import pytest

from bandits import MINOR_DIGITS, minor_per_major


def test_codes_are_three_capitals():
    assert all(len(c) == 3 and c.isalpha() and c.isupper() for c in MINOR_DIGITS)
    assert 150 <= len(MINOR_DIGITS) <= 170  # ISO 4217 has some 155 in use, funds left out


def test_the_exceptions_from_two_digits():
    none = {code for code, digits in MINOR_DIGITS.items() if digits == 0}
    three = {code for code, digits in MINOR_DIGITS.items() if digits == 3}
    assert none == {
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    }
    assert three == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert set(MINOR_DIGITS.values()) == {0, 2, 3}


@pytest.mark.parametrize("code", ["EUR", "USD", "GBP", "CHF", "PLN", "HUF", "INR", "BRL"])
def test_the_usual_two_digits(code):
    assert MINOR_DIGITS[code] == 2


def test_minor_units_in_one_unit():
    found = minor_per_major(["GBP", "JPY", "KWD", "GBP"])
    assert found.tolist() == [100, 1, 1000, 100]
    assert found.dtype == np.int64
    assert minor_per_major([]).shape == (0,)


@pytest.mark.parametrize("code", ["XXX", "eur", "", "DEM", "BTC"])
def test_what_is_no_active_currency_is_refused(code):
    with pytest.raises(KeyError):
        minor_per_major(["EUR", code])
