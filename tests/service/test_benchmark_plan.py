from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.sellers import SELLERS
from evaluation.sellers.peers import PEERS
from service import benchmark_plan
from service.benchmark_plan import Asked, plan


def small(policies: str) -> Asked:
    return Asked(policies=policies, regimes="cost", seeds=1, known=20, new=10)


def test_policies_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    own = tuple(name for name in SELLERS if name not in PEERS)
    assert plan(small("own")).sellers == own
    assert Asked().policies == "own"
    monkeypatch.setattr(benchmark_plan, "unavailable", lambda: {"vw-cats": "it is not installed"})
    assert plan(small("all")).sellers == own + tuple(name for name in PEERS if name != "vw-cats")
    with pytest.raises(ValueError, match="vw-cats cannot be run: it is not installed"):
        plan(small("fixed,vw-cats"))
    monkeypatch.setattr(benchmark_plan, "unavailable", lambda: dict.fromkeys(PEERS, "no package"))
    assert plan(small("all")).sellers == own
    with pytest.raises(ValueError, match="vw-squarecb cannot be run: no package"):
        plan(small("peers"))


@pytest.mark.parametrize(("days", "turn"), [(30, 15), (16, 15), (15, 7), (8, 4)])
def test_a_season_turns_while_it_lasts(days: int, turn: int) -> None:
    asked = Asked(regimes="cost", scenarios="changing", seeds=1, known=20, new=10, days=days)
    (market,) = plan(asked).markets.values()
    assert (market.conditions.days, market.conditions.turn_day) == (days, turn)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"first_seed": 1 << 63}, "seed is 9223372036854775808: give one below 2"),
        ({"first_seed": (1 << 63) - 1, "seeds": 2}, "seed is 9223372036854775807: give one below"),
        ({"currency": "GBP"}, "currency is of a table of sales: give data, too"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(replace(small("fixed"), **wrong))


def test_a_currency_that_is_none_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    table = tmp_path / "sales.csv"
    rows = [f"mug {i},2026-01-0{1 + i % 9},{3 + i},1,RMB" for i in range(60)]
    table.write_text("\n".join(["sku,date,price,units,currency", *rows]) + "\n")
    with pytest.raises(ValueError, match="currency is 'RMB': give an ISO 4217 code"):
        plan(Asked(data=table, policies="fixed", regimes="cost", seeds=1))
