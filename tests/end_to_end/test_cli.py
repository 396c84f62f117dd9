"""The command line as its users meet it: what it prints, what it refuses, how it exits."""

import csv
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from catalogues import LISTINGS, write_csv, write_sales
from processes import Command, script

Pricebandit = Callable[..., Command]

HEAVY = ("torch", "polars", "sqlalchemy", "numpy", "fastapi", "sentence_transformers", "faiss")


def test_the_installed_script_explains_itself(tmp_path: Path) -> None:
    shown = script("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in ("serve", "demo", "index", "import", "price", "replay"):
        assert command in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from service.cli import app; app(['--help'], standalone_mode=False);"
        f"print('imported', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands" in shown.stdout
    assert shown.stdout.endswith("imported []\n")


def test_index_registers_what_is_sound_and_names_what_is_not(
    pricebandit: Pricebandit, tmp_path: Path
) -> None:
    catalog = write_csv(
        tmp_path / "listings.csv",
        ("listing_id", "title", "currency", "reference_price"),
        [
            ("A", "red mug", "GBP", "5"),
            ("B", "blue mug", "XXL", "5"),
            ("C", "", "GBP", "5"),
            ("D", "oak mug", "GBP", "cheap"),
            ("E", "tin mug", "GBP", "-1"),
            ("F", "glass mug", "GBP", ""),
        ],
    )
    indexing = pricebandit("index", catalog)
    assert indexing.status() == 1
    lines = indexing.text.splitlines()
    assert any(line.startswith("2 listings registered") for line in lines)
    for number, field, value in (
        (2, "currency", "'XXL'"), (3, "title", ""), (4, "reference_price", "'cheap'"),
        (5, "reference_price", "-1"),
    ):  # fmt: skip
        assert any(
            line.startswith(f"row {number}: ") and field in line and value in line for line in lines
        ), indexing.text
    again = pricebandit("index", catalog)
    assert again.status() == 1
    assert "0 texts encoded, 2 found in cache" in again.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "no such file"),
        ("listings.txt", "a", "give a file that ends in .csv"),
        ("listings.parquet", "no parquet", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    pricebandit: Pricebandit, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    indexing = pricebandit("index", tmp_path / name)
    assert indexing.status() == 1
    assert name in indexing.text
    assert message in indexing.text
    assert "Traceback" not in indexing.text


@pytest.mark.parametrize("command", ["replay", "train"])
def test_a_home_that_is_mistyped_is_named_and_not_made(
    pricebandit: Pricebandit, tmp_path: Path, command: str
) -> None:
    refused = pricebandit(command, "--home", str(tmp_path / "hmoe"))
    assert refused.status() == 1
    assert f"{tmp_path / 'hmoe'} holds no log: give the --home of a service" in refused.text
    assert not (tmp_path / "hmoe").exists()


def test_sales_are_imported_once_replayed_and_priced_from(
    pricebandit: Pricebandit, listings_csv: Path, tmp_path: Path
) -> None:
    assert pricebandit("index", listings_csv).status() == 0
    sales = write_sales(tmp_path / "sales.csv", 500, seed=1)
    first = pricebandit("import", sales)
    assert first.status() == 0
    assert "500 sales imported, 0 were there already" in first.text
    before = pricebandit("replay")
    second = pricebandit("import", sales) if before.status() == 0 else before
    assert second.status() == 0
    assert "0 sales imported, 500 were there already" in second.text
    after = pricebandit("replay")
    assert after.status() == 0
    # the events, the model's version and the difference are what they were
    assert after.text == before.text
    assert "500 events replayed" in after.text
    apart = re.search(r"largest relative difference (\S+)", after.text)
    assert apart
    assert float(apart[1]) <= 1e-9
    asked = pricebandit("price", "striped mug", "glass table lamp", "--cost", "2.5")
    assert asked.status() == 0, asked.text
    assert "striped mug" in asked.text
    assert re.search(r"\d GBP", asked.text)


def test_import_refuses_bad_rows_and_other_tables(
    pricebandit: Pricebandit, listings_csv: Path, tmp_path: Path
) -> None:
    assert pricebandit("index", listings_csv).status() == 0
    columns = ("listing_id", "at", "price", "units", "impressions")
    sales = write_csv(
        tmp_path / "sales.csv",
        columns,
        [
            ("L01", "2026-01-02", "5", "1", "10"),
            ("nobody", "2026-01-02", "5", "1", "10"),
            ("L01", "yesterday", "5", "1", "10"),
            ("L01", "2026-01-02", "free", "1", "10"),
            ("L01", "2026-01-02", "5", "1.5", "10"),
            ("L01", "2026-01-02", "5", "1", "0"),
        ],
    )
    importing = pricebandit("import", sales)
    assert importing.status() == 1
    assert "1 sales imported" in importing.text
    values = ("'nobody'", "'yesterday'", "'free'", "'1.5'", "'0'")
    for number, (field, value) in enumerate(zip(columns, values, strict=True), 2):
        assert f"row {number}: {field} is {value}: " in importing.text
    other = write_csv(tmp_path / "other.csv", columns[:3], [("L01", "2026-01-02", "5")])
    importing = pricebandit("import", other)
    assert importing.status() == 1
    assert "no column units or quantity or qty or units_sold or sold. Found: " in importing.text


def test_a_home_is_served_once_and_let_go(
    pricebandit: Pricebandit, listings_csv: Path, port: int, tmp_path: Path, embeddings: Path
) -> None:
    home = tmp_path / "home"
    assert pricebandit("index", listings_csv).status() == 0
    serving = pricebandit("serve", "--port", port)
    serving.wait_until_ready(port)
    # the installed script itself, for once
    rival = script("serve", "--port", 0, "--home", home, cwd=tmp_path, embeddings=embeddings)
    assert rival.returncode == 1
    assert f"{home} is in use by another pricebandit: stop it" in rival.stderr
    assert "Traceback" not in rival.stderr
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answer = client.post("/v1/prices", json={"requests": [{"listing_id": "L01"}]}).json()
        decision_id = answer["decisions"][0]["decision_id"]
    serving.stop()
    again = pricebandit("serve", "--port", port)
    again.wait_until_ready(port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert client.get(f"/v1/decisions/{decision_id}").status_code == 200


def test_a_request_in_flight_is_answered_before_the_service_ends(
    pricebandit: Pricebandit, listings_csv: Path, port: int
) -> None:
    assert pricebandit("index", listings_csv).status() == 0
    # a batch waits half a second for others to join it
    serving = pricebandit("serve", "--port", port, max_wait_ms=500)
    serving.wait_until_ready(port)
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"requests": [{"listing_id": "L01"}]}
        answers.append(httpx.post(f"http://127.0.0.1:{port}/v1/prices", json=body, trust_env=False))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.25)
    serving.stop()
    asking.join(10)
    assert [answer.status_code for answer in answers] == [200]


@pytest.mark.parametrize(
    ("name", "value"), [("port", "eighty"), ("arms", "1"), ("rule", "greedy"), ("floor", "2")]
)
def test_a_wrong_setting_is_named(pricebandit: Pricebandit, name: str, value: str) -> None:
    replaying = pricebandit("replay", **{name: value})
    assert replaying.status() == 1
    assert f"PRICEBANDIT_{name.upper()} is '{value}'" in replaying.text
    assert "Traceback" not in replaying.text


@pytest.mark.slow
def test_the_demo_runs_on_a_shops_own_record_and_encodes_each_text_once(
    pricebandit: Pricebandit, tmp_path: Path
) -> None:
    record = _online_retail(tmp_path / "record.csv", seed=1)
    shown = script("demo", "--data", record, "--days", 3, "--home", "demo", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"{len(LISTINGS)} listings" in shown.stdout
    assert f"texts: {len(LISTINGS)} encoded, 0 found in cache" in shown.stdout
    for seller in ("bandit", "cost-plus", "fixed price"):
        assert seller in shown.stdout
    assert (tmp_path / "demo" / "profit.png").read_bytes().startswith(b"\x89PNG")
    again = pricebandit("demo", "--data", record, "--days", 3, "--home", tmp_path / "demo")
    assert again.status() == 0, again.text
    assert "texts: 0 encoded" in again.text


def _online_retail(path: Path, seed: int) -> Path:
    """Sales of the small catalogue as a shop's till would have written them."""
    chance = np.random.default_rng(seed)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate",
                      "UnitPrice", "CustomerID"))  # fmt: skip
        for invoice in range(600):
            i = invoice % len(LISTINGS)
            day = f"2011-03-{1 + invoice % 28:02d} 12:00:00"
            price = (3 + i % 9) * (1.1 if chance.random() < 0.3 else 1.0)
            quantity = int(chance.integers(1, 6))
            title = LISTINGS[i]["title"].upper()
            out.writerow((500000 + invoice, 20000 + i, title, quantity, day, f"{price:.2f}", 17000))
    return path
