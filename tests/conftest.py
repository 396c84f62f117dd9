"""What tests of several rooms share: no network, one folder of embeddings, a private PostgreSQL."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--draws", default="", help="any word: decisions draw otherwise than usual")


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of embeddings for the whole run: each text is encoded once."""
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random LoRA adapter of the default model, written by peft."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from encoders import model_folder

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(AutoModel.from_pretrained(model_folder()), config).save_pretrained(folder)
    return folder


def _postgres_binaries() -> Path | None:
    asked = shutil.which("pg_config")
    folders = [Path(p) for p in sorted(Path("/").glob("usr/lib/postgresql/*/bin"), reverse=True)]
    if asked:
        answer = subprocess.run([asked, "--bindir"], capture_output=True, text=True, check=True)
        folders.insert(0, Path(answer.stdout.strip()))
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _unprivileged() -> dict[str, object]:
    """Arguments of `subprocess` that leave root behind, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    who = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A private PostgreSQL, stopped at the end; calling it makes an empty database, by URL."""
    binaries = _postgres_binaries()
    if binaries is None:
        reason = "no PostgreSQL here: neither pg_config nor /usr/lib/postgresql leads to initdb"
        # where everything is meant to run, a test that quietly does not is a failure
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    import psycopg

    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="pricebandit-pg-"))  # short: a socket's path is limited
    if who:
        os.chown(folder, who["user"], who["group"])  # type: ignore[call-overload]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": folder, **who}
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", "seller", "-A", "trust", "-E", "UTF8",
         "--locale=C", "--no-sync"],
        check=False, **quiet,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr.decode()
    settings = ("listen_addresses=", "fsync=off", "max_connections=50", "shared_buffers=16MB")
    with open(folder / "server.log", "wb") as output:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", "-k", folder,
             *(word for setting in settings for word in ("-c", setting))],
            **{**quiet, "stderr": output},
        )  # fmt: skip
    where = f"host={folder} user=seller"
    for _ in range(200):
        try:
            admin = psycopg.connect(f"{where} dbname=postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.05)
    numbers = count()

    def make() -> str:
        name = f"log{next(numbers)}"
        admin.execute(f"CREATE DATABASE {name}")
        return f"postgresql://seller@/{name}?host={folder}"

    try:
        yield make
    finally:
        admin.close()
        server.send_signal(signal.SIGINT)  # without waiting for those still connected
        server.wait(30)
        shutil.rmtree(folder)
