"""What `pricebandit finetune` says of its table before it trains."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from finetune.judging import METHODS, POLICY
from service import finetune_command
from service.cli import app

LIST = ["listing_id,title,price,rrp", *(f"{i},Mug {i},5,GBP 5.00" for i in range(200)), "x,Cup,?,"]
SALES = [
    "listing_id,title,at,price,units,currency",
    *(f"{i},Mug {i},2026-03-02,5,1,GBP" for i in range(200)),
    "x,Cup,2026-03-02,?,1,GBP",
]
RETAIL = [
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID",
    *(f"{i},22423,MUG,1,2010-12-01 08:26,5,13000" for i in range(200)),
    "300,22423,MUG,1,2010-12-01 08:26,?,13000",
]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (LIST, "not read as attributes: rrp; most cells are money"),
        (SALES, "column 'price', row 201 ('?')"),
        (RETAIL, "column 'UnitPrice', row 201 ('?')"),
    ],
)
def test_what_the_loader_notes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: list[str], said: str
) -> None:
    (tmp_path / "table.csv").write_text("\n".join(table) + "\n")
    words = ("finetune", "--data", tmp_path / "table.csv", "--output", tmp_path / "out", "--cpu")

    def told() -> str:
        done = CliRunner().invoke(app, [*map(str, words), "--tasks", "log weight"])
        assert done.exit_code == 1
        assert "the data say nothing of log weight" in done.stderr
        assert not done.stdout
        return done.stderr

    text = told()
    assert "table.csv: price cannot be read: 1 row, first" in text
    assert said in text
    monkeypatch.setenv("RANK", "1")
    assert said not in told()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--init-adapter out --rank 4 --target-modules key", "rank, modules: an adapter that is"),
        ("--init-adapter out --no-dora", "dora: an adapter that is gone on from keeps its own"),
        ("--init-share 0.3", "init_share is of an earlier adapter: give --init-adapter"),
    ],
)
def test_options_that_would_change_nothing_are_refused(options: str, said: str) -> None:
    words = ["finetune", "--data", "no.csv", "--output", "new", *options.split()]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("guessed", "advice"),
    [
        ((0.5, 0.6), "roll it out: pricebandit rollout out"),
        ((0.5, 0.5), "policy's guess of log price is 0.500, and 0.500 without it"),
        ((0.6, 0.5), "policy's guess of log price is 0.500, and 0.600 without it"),
        (None, "roll it out: pricebandit rollout out"),
    ],
)
def test_an_adapter_that_is_no_better_is_not_recommended(
    guessed: tuple[float, float] | None, advice: str
) -> None:
    # ridge and neighbours tell of vectors, and not of what is made of them
    by = dict.fromkeys(METHODS, 0.4) | {"tuned, neighbours": 0.7}
    r2 = {"log price": by | dict(zip(POLICY, guessed, strict=True))} if guessed else {}
    found: Any = SimpleNamespace(folder=Path("out"), judgement=SimpleNamespace(r2=r2))
    assert finetune_command._advice(found).endswith(advice)
