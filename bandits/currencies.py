"""Minor units of the active ISO 4217 currencies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD
HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK
MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"

MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
}
"""Currency code → digits after the decimal point (ISO 4217, exponent column)."""


def minor_per_major(currencies: Sequence[str]) -> NDArray[np.int64]:
    """Minor units in one unit of each currency, int64 (n,): GBP → 100, JPY → 1, KWD → 1000.

    Raises:
        KeyError: a code is not an active ISO 4217 currency.
    """
    digits = np.fromiter((MINOR_DIGITS[c] for c in currencies), np.int64, len(currencies))
    return np.asarray(10**digits, np.int64)
