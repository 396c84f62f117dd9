import json
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import encoders.model
from encoders import (
    AdapterError,
    EmbeddingCache,
    Encoder,
    EncoderError,
    WeightsMismatchError,
    base_weights,
    model_folder,
)
from encoders.source import PACKAGED_SHA256

TEXTS = [
    "Red cotton T-shirt, size M",
    "",
    "Crimson tee, medium",
    "🙂👩‍👩‍👧",
    "красный 赤い シャツ أحمر",
    "Cordless drill 18V with two batteries " * 30,
    "x" * 32_768,
    "Cordless drill",
    "Red cotton T-shirt, size M",
]


@pytest.fixture(scope="module")
def plain():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model_folder()), device="cpu")


def test_vectors_are_those_of_sentence_transformers(encoder, plain):
    got = encoder.encode(TEXTS)
    want = plain.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert got.dtype == np.float32
    assert got.shape == (len(TEXTS), 384) == (len(TEXTS), encoder.dim)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_nothing_gives_nothing(encoder):
    assert encoder.encode([]).shape == (0, 384)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(max_size=40) | st.sampled_from(TEXTS[:5]), min_size=1, max_size=6))
def test_a_vector_does_not_depend_on_its_batch_mates(encoder, texts):
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)


def test_batches_are_counted_and_bounded(encoder):
    small = Encoder(device="cpu", batch_size=2)
    small._loaded = encoder._loaded  # the weights are the same; loading them again proves nothing
    seen = []
    got = small.encode(TEXTS[:5], lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    np.testing.assert_allclose(got, encoder.encode(TEXTS[:5]), atol=1e-5)


def test_likeness_has_the_known_order(encoder):
    shirt, tee, drill = encoder.encode([TEXTS[0], TEXTS[2], TEXTS[7]])
    assert shirt @ tee > 0.5 > 0.3 > shirt @ drill


def test_threads_share_one_encoder(encoder):
    want, got = encoder.encode(TEXTS[:4]), [None] * 4

    def work(i):
        got[i] = encoder.encode(TEXTS[:4])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in got:
        np.testing.assert_allclose(each, want, atol=1e-5)


def test_bad_arguments_are_refused(encoder):
    with pytest.raises(TypeError, match="one string"):
        encoder.encode("text")
    with pytest.raises(TypeError, match=r"texts\[1\] is NoneType"):
        encoder.encode(["a", None])
    with pytest.raises(ValueError, match="batch_size is 0"):
        Encoder(batch_size=0)


def test_an_adapter_changes_vectors_and_fingerprint(encoder, plain, adapter):
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer

    adapted = Encoder(adapter=str(adapter), device="cpu")
    assert adapted.fingerprint != encoder.fingerprint
    assert adapted.dim == encoder.dim
    got = adapted.encode(TEXTS[:3])
    assert np.abs(got - encoder.encode(TEXTS[:3])).max() > 1e-3
    unmerged = SentenceTransformer(str(model_folder()), device="cpu")
    unmerged[0].model = PeftModel.from_pretrained(unmerged[0].model, str(adapter))
    want = unmerged.encode(TEXTS[:3], normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_an_adapter_of_another_model_is_refused(adapter, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    wrong_shape = Encoder(adapter=str(other))
    with pytest.raises(AdapterError, match="does not fit the model"):
        wrong_shape.encode(["a"])
    (other / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["key"]}))
    missing_weights = Encoder(adapter=str(other))
    with pytest.raises(AdapterError, match="Found missing adapter keys"):
        missing_weights.encode(["a"])


def test_an_adapter_of_a_deeper_model_is_refused(adapter, tmp_path):
    shallow = tmp_path / "shallow"
    shutil.copytree(model_folder(), shallow)
    config = json.loads((shallow / "config.json").read_text())
    (shallow / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(AdapterError, match=r"no place for \d+ of its weights, .*layer\.3"):
        Encoder(str(shallow), adapter=str(adapter)).encode(["a"])


def test_an_adapter_trained_on_other_weights_of_the_same_shape_is_refused(adapter, tmp_path):
    told, other = tmp_path / "told", tmp_path / "other"
    shutil.copytree(adapter, told)
    shutil.copytree(model_folder(), other)
    base_weights.write(told, model_folder())
    assert (told / base_weights.FILE).read_text().strip() == PACKAGED_SHA256
    Encoder(adapter=str(told))
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(AdapterError, match="was trained on weights with SHA-256 '53aa5117"):
        Encoder(str(other), adapter=str(told))
    Encoder(str(other), adapter=str(adapter))  # which does not say
    (told / base_weights.FILE).write_bytes(b"\xff")
    with pytest.raises(AdapterError, match="was trained on weights"):
        Encoder(adapter=str(told))


def test_an_adapter_with_its_embeddings_is_read_without_the_hub(adapter, tmp_path, monkeypatch):
    dressed = tmp_path / "dressed"
    shutil.copytree(adapter, dressed)
    config = json.loads((dressed / "adapter_config.json").read_text())
    name = "sentence-transformers/all-MiniLM-L6-v2"
    (dressed / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": name})
    )
    weights = load_file(dressed / "adapter_model.safetensors")
    base = load_file(model_folder() / "model.safetensors")
    table = base["embeddings.word_embeddings.weight"]  # PEFT writes it where a vocabulary grew
    weights["base_model.model.embeddings.word_embeddings.weight"] = table
    save_file(weights, dressed / "adapter_model.safetensors", {"format": "pt"})

    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", asked)
    expected = Encoder(adapter=str(adapter)).encode(["red mug"])
    assert np.abs(Encoder(adapter=str(dressed)).encode(["red mug"]) - expected).max() < 1e-6


def _cut(path):
    path.write_bytes(path.read_bytes()[:1_000_000])


def _deepen(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 7}))


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("model.safetensors", _cut, "cannot be loaded: SafetensorError.* Give a whole copy"),
        ("modules.json", lambda path: path.write_text('[{"idx": 0}]'), "cannot be loaded"),
        ("modules.json", lambda path: path.write_text("{"), "cannot be loaded: JSONDecodeError"),
        ("1_Pooling/config.json", lambda path: path.unlink(), "cannot be loaded: TypeError"),
        ("config.json", _deepen, r"lacks weights for encoder\.layer\.6.* and 15 more"),
        ("tokenizer.json", lambda path: path.unlink(), "reads mug, .* tokenizer has no vocabulary"),
    ],
)
def test_a_model_of_which_a_file_is_damaged_is_named(tmp_path, file, damage, said):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    (folder / "vocab.txt").unlink(missing_ok=True)
    damage(folder / file)
    with pytest.raises(EncoderError, match=rf"(?s)model '{folder}' {said}"):
        Encoder(str(folder), device="cpu").encode(["red mug"])


@pytest.mark.parametrize(
    "change",
    [lambda folder: (folder / "adapter_config.json").write_text("{}"), shutil.rmtree],
    ids=["rewritten", "gone"],
)
def test_files_that_change_before_loading_are_refused(adapter, tmp_path, change):
    moving = tmp_path / "moving"
    shutil.copytree(adapter, moving)
    stale = Encoder(adapter=str(moving))
    change(moving)
    with pytest.raises(WeightsMismatchError, match="changed after they were hashed"):
        stale.encode(["a"])


def test_files_that_change_while_they_are_read_are_refused(adapter, tmp_path, monkeypatch):
    moving = tmp_path / "moving"
    shutil.copytree(adapter, moving)
    stale = Encoder(adapter=str(moving))
    merge = encoders.model.merge_adapter

    def replaced(model, folder):
        weights = folder / "adapter_model.safetensors"
        tensors = load_file(weights)
        save_file({name: 2 * tensor for name, tensor in tensors.items()}, weights)
        merge(model, folder)

    monkeypatch.setattr(encoders.model, "merge_adapter", replaced)
    for _ in range(2):  # nor is what was read kept
        with pytest.raises(WeightsMismatchError, match="changed after they were hashed"):
            stale.encode(["a"])


def test_end_to_end_with_real_weights(encoder, plain, adapter, tmp_path):
    cache = EmbeddingCache(tmp_path, encoder)
    first = cache.embed(TEXTS)
    assert (first.encoded, first.cached, len(cache)) == (8, 1, 8)
    want = plain.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(first.vectors, want, atol=1e-5)
    scores, ids = cache.neighbours(first.vectors[:1], 2)
    assert ids.tolist() == [[first.ids[0], first.ids[2]]]
    np.testing.assert_allclose(scores[0], [1, want[0] @ want[2]], atol=1e-5)

    again = EmbeddingCache(tmp_path, Encoder(device="cpu")).embed(TEXTS)
    assert (again.encoded, again.cached) == (0, 9)
    assert (again.vectors == first.vectors).all()

    adapted = EmbeddingCache(tmp_path, Encoder(adapter=str(adapter), device="cpu"))
    other = adapted.embed(TEXTS[:1])
    assert other.encoded == 1
    assert np.abs(other.vectors - first.vectors[:1]).max() > 1e-3
