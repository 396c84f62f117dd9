"""`pricebandit finetune` as its users meet it: killed, resumed, on two processes, refused."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogues import write_csv
from processes import Command
from safetensors.numpy import load_file
from small_products import LOOKS, THINGS

from encoders import Encoder, base_weights, trained_texts
from finetune.tuning import WEIGHTS

pytestmark = pytest.mark.slow

SMALL = ("--cpu", "--rank", 4, "--layers", 2, "--epochs", 4, "--batch", 16, "--held-out", 0.2)


@pytest.fixture
def price_list(tmp_path: Path) -> Path:
    """60 products, priced by what they are and how they look."""
    chance = np.random.default_rng(0)
    rows = []
    for i in range(60):
        thing, look = chance.choice(list(THINGS)), chance.choice(list(LOOKS))
        price = round(float(np.exp(THINGS[thing] + LOOKS[look])), 2)
        rows.append((i, f"{look} {thing} {i}", f"{thing} {i // 2}", price))
    return write_csv(tmp_path / "list.csv", ("sku", "title", "family", "price"), rows)


def tensors(folder: Path) -> dict[str, Any]:
    return load_file(folder / WEIGHTS)


def test_a_killed_run_gives_what_it_would_have_given(
    pricebandit: Callable[..., Command], price_list: Path, tmp_path: Path
) -> None:
    def finetune(folder: Path) -> Command:
        return pricebandit("finetune", "--data", price_list, "--output", folder, *SMALL)

    whole = finetune(tmp_path / "whole")
    assert whole.status() == 0, whole.text
    assert "R² on held-out products" in whole.text
    chance = np.random.default_rng(1)
    killed = tmp_path / "killed"
    kills = 0
    for _ in range(6):
        running = finetune(killed)
        while running.running and not (killed / "training.pt").exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.5))
        kills += running.running
        running.kill()
        if (killed / WEIGHTS).exists():
            break
    assert kills
    if not (killed / WEIGHTS).exists():
        again = finetune(killed)
        assert again.status() == 0, again.text
    one, other = tensors(tmp_path / "whole"), tensors(killed)
    assert one.keys() == other.keys()
    assert max(np.abs(one[name] - other[name]).max() for name in one) <= 1e-6
    assert {path.name for path in killed.iterdir()} == {
        WEIGHTS, "adapter_config.json", "README.md", base_weights.FILE, trained_texts.FILE
    }  # fmt: skip
    taken = finetune(killed)
    assert taken.status() == 1
    assert "holds an adapter already: give another --output" in " ".join(taken.text.split())


def test_two_processes_train_one_adapter(price_list: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
         Path(sys.executable).with_name("pricebandit"),
         "finetune", "--data", price_list, "--output", tmp_path / "two",
         *map(str, (*SMALL, "--head", 0, "--tensorboard", tmp_path / "curves"))],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("adapter: ") == 1
    assert list((tmp_path / "curves").rglob("events.out.tfevents.*"))
    assert np.isfinite(Encoder(adapter=str(tmp_path / "two")).encode(["red mug"])).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--data", "nowhere.csv"), "nowhere.csv"),
        (("--rank", 0), "rank is 0: give at least 1"),
        (("--tasks", "log weight"), "the data say nothing of log weight; choose among log price"),
        (("--word-dropout", 1), "word_dropout is 1.0: give a chance"),
        (("--precision", "fp8"), "precision is 'fp8': give no or bf16"),
        (("--base", "nobody/nothing"), "nobody/nothing"),
        (("--init-adapter", "nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_said_before_training(
    pricebandit: Callable[..., Command],
    price_list: Path,
    tmp_path: Path,
    wrong: tuple[str, Any],
    said: str,
) -> None:
    given = {"--data": price_list, "--output": tmp_path / "out", wrong[0]: wrong[1]}
    words = [word for pair in given.items() for word in pair]
    refused = pricebandit("finetune", *words, "--cpu")
    assert refused.status() == 1, refused.text
    assert said in " ".join(refused.text.split())
    assert "Traceback" not in refused.text
