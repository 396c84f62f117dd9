"""What commands print and refuse, called without a process of their own."""

import pytest

from service import cli
from service.progress_bar import ProgressBar


@pytest.mark.parametrize("title", ["USB cable [pack of 2]", "[/] lid", "[red] :mug:"])
def test_titles_are_printed_as_they_are(open_bandit, drive, tmp_path, monkeypatch, capsys, title):
    monkeypatch.setenv("COLUMNS", "200")
    bandit = open_bandit()
    mug = {"listing_id": "m", "title": title, "currency": "GBP", "reference_price": 5}
    drive.listings(bandit, mug)
    monkeypatch.setenv("PRICEBANDIT_EMBEDDINGS", str(bandit.settings.embeddings))
    bandit.close()
    cli.price([title], home=tmp_path / "home")
    shown = capsys.readouterr().out
    assert f"{title} (5.0)" in shown
    assert shown.count(title) == 2


def test_progress_is_told_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a bar is shown on terminals alone
    with ProgressBar("model [/v1]") as bar:
        bar.told("importing [a]", 1, 2)
    assert "importing [a]" in capsys.readouterr().err
