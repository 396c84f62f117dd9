import json
import shutil

import pytest

from encoders import AdapterError, Encoder, model_folder
from encoders.fingerprint import model_dimension


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(model_folder(), folder)
    return folder


def test_the_same_files_elsewhere_are_the_same_model(copy, encoder):
    assert Encoder(str(copy)).fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json", "modules.json"],
)
def test_any_file_of_the_model_changes_the_fingerprint(copy, encoder, name):
    path = copy / name
    before = path.read_bytes()
    try:
        path.write_bytes(before + b" ")
        assert Encoder(str(copy)).fingerprint != encoder.fingerprint
    finally:
        path.write_bytes(before)
    assert Encoder(str(copy)).fingerprint == encoder.fingerprint


def test_documentation_and_other_runtimes_do_not(copy, encoder):
    for name in ("README.md", "onnx/model.onnx", ".git/HEAD", "pytorch_model.bin"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("other")
    assert Encoder(str(copy)).fingerprint == encoder.fingerprint


def test_an_adapter_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"lacks adapter_model\.safetensors"):
        Encoder(adapter=str(tmp_path))


@pytest.mark.parametrize(
    ("modules", "configs", "dim"),
    [
        (None, {"": {"hidden_size": 12}}, 12),
        (["Transformer", "Pooling"], {"1": {"embedding_dimension": 6, "pooling_mode": "cls"}}, 6),
        (
            ["Transformer", "Pooling", "Normalize"],
            {
                "1": {
                    "word_embedding_dimension": 6,
                    "pooling_mode_cls_token": True,
                    "pooling_mode_mean_tokens": True,
                }
            },
            12,
        ),
        (["Transformer", "Pooling", "Dense"], {"2": {"out_features": 5}}, 5),
        (["StaticEmbedding"], {}, None),
        (["Dense"], {}, None),
    ],
)
def test_the_dimension_is_read_from_the_files(tmp_path, modules, configs, dim):
    if modules is not None:
        listed = [{"path": str(i), "type": f"a.b.{kind}"} for i, kind in enumerate(modules)]
        (tmp_path / "modules.json").write_text(json.dumps(listed))
    for name, config in configs.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    assert model_dimension(tmp_path) == dim
