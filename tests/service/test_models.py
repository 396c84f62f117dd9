"""Which model is active, by what the log says."""

import shutil

import pytest

from encoders import DEFAULT_MODEL, AdapterError, Encoder, model_folder
from service import models
from service.log import Log


@pytest.fixture
def source(database_url, tmp_path):
    """An empty log, in which two models are staged."""
    url = (database_url or "").replace("postgresql://", "postgresql+psycopg://")
    opened = Log(url or f"sqlite:///{tmp_path / 'log.sqlite3'}")
    with opened.transaction() as conn:
        models.stage(conn, "one", False, 1)
        models.stage(conn, "other", True, 2)
    yield opened
    opened.close()


def test_the_model_activated_last_is_active_whatever_the_clock_says(source):
    assert models.active(source) is None
    for at_us, version in enumerate(["one", "other", "one"]):
        with source.transaction() as conn:
            models.activate(conn, version, 7_200_000_000 - at_us)  # the clock is put back
        assert models.active(source).version == version


WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def opened(source, tmp_path, monkeypatch):
    """Version of the model that a start in this test's home takes, by what its settings name."""
    monkeypatch.setattr(models, "Encoder", Encoder)  # which reads files anew at each start
    starts = iter(range(10, 1000))

    def version(adapter=None, base=DEFAULT_MODEL):
        named = str(base), None if adapter is None else str(adapter), None
        return models.version_of(models.opened(source, tmp_path, *named, next(starts)))

    return version


def flip_a_bit(kept):
    content = bytearray((kept / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (kept / WEIGHTS).write_bytes(content)


def flip_a_bit_in_one_of_an_earlier_version(kept):
    (kept / "base.version").unlink(missing_ok=True)
    flip_a_bit(kept)


def lose_a_file(kept):
    (kept / WEIGHTS).unlink()


@pytest.mark.parametrize(
    "damage", [flip_a_bit, flip_a_bit_in_one_of_an_earlier_version, lose_a_file, shutil.rmtree]
)
def test_a_damaged_adapter_is_not_taken_for_another_base_model(
    source, opened, tmp_path, adapter, damage
):
    base, tuned = opened(), opened(adapter)
    assert opened() == tuned != base
    kept = tmp_path / "adapters" / tuned
    damage(kept)
    for _ in range(2):
        with pytest.raises(AdapterError, match=f"{kept} lacks or has damaged files"):
            opened()
    assert models.active(source).version == tuned
    assert opened(adapter) == tuned  # which puts the files back
    assert opened() == tuned


def test_an_adapter_that_is_lost_for_good_can_be_given_up(opened, tmp_path, adapter, caplog):
    base, tuned = opened(), opened(adapter)
    kept = tmp_path / "adapters" / tuned
    flip_a_bit(kept)
    kept.rename(kept.with_name(f"{tuned}.lost"))
    assert opened() == base
    assert f"model {tuned} is left and {base} taken" in caplog.text
    assert opened(adapter) == base  # gone back from, as ever


@pytest.mark.parametrize("noted", [True, False])
def test_with_another_base_model_a_home_begins_anew(opened, tmp_path, adapter, caplog, noted):
    other = tmp_path / "other"
    other.mkdir()
    for part in model_folder().iterdir():
        (other / part.name).symlink_to(part)
    (other / "more.json").write_text("{}")
    first = opened()
    opened(base=other)
    tuned = opened(adapter, base=other)
    assert opened(base=other) == tuned
    kept = tmp_path / "adapters" / tuned
    if noted:
        lose_a_file(kept)  # which is of no use any more
    else:
        (kept / "base.version").unlink()
    assert opened() == first
    assert f"model {tuned} is left and {first} taken" in caplog.text


def test_where_nothing_tells_the_base_model_an_error_says_what_is_taken(
    opened, tmp_path, adapter, caplog
):
    beginning = tmp_path / "beginning"
    shutil.copytree(adapter, beginning)
    with (beginning / "adapter_config.json").open("a") as config:
        config.write("\n")
    first, tuned = opened(beginning), opened(adapter)  # the base model was never used alone
    assert opened(beginning) == tuned != first
    flip_a_bit_in_one_of_an_earlier_version(tmp_path / "adapters" / tuned)
    assert opened(beginning) == first
    assert f"model {tuned} is left and {first} taken" in caplog.text
