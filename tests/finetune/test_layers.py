import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from encoders import DEFAULT_MODEL, model_folder
from finetune import Recipe
from finetune.adapter import prepared, trainable_share
from finetune.layers import NotATransformer, adapted_modules, stack_of
from finetune.reading import Reader
from finetune.student import Lesson, Student

TEXTS = ["red mug", "a rather longer text about a large silver lamp", "mug", "", "💎 vase"]


@pytest.mark.parametrize(("layers", "frozen"), [(1, 5), (3, 3), (-1, 1), (0, 0)])
@pytest.mark.parametrize("word_vectors", [False, True])
def test_what_frozen_layers_said_stands_in_for_running_them(layers, frozen, word_vectors):
    recipe = Recipe(layers=layers)
    encoder = prepared(DEFAULT_MODEL, recipe)
    with torch.no_grad():  # an adapter that has moved
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    reader = Reader(encoder, torch.device("cpu"), word_vectors)
    assert reader.frozen.count == frozen
    assert (reader.read(TEXTS).hidden is None) == (frozen == 0 and not word_vectors)
    student = Student(encoder, reader.frozen, recipe, 1).eval()
    wanted = encoder.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    for _ in range(2):  # read, then remembered
        found = student.vectors(reader.read(TEXTS)).detach().numpy()
        assert np.abs(found - wanted).max() < 1e-5
    again = student.vectors(reader.read(TEXTS[::-1])).detach().numpy()
    assert np.abs(again[::-1] - wanted).max() < 1e-5


@pytest.mark.parametrize(
    "kind", ["mpnet", "roberta", "distilbert", "electra", "modernbert", "deberta-v2", "t5"]
)
def test_layers_of_other_models_are_skipped_alike(tmp_path, kind):
    small = {
        "vocab_size": 50_368,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    if kind == "distilbert":
        small = {"vocab_size": 50_368, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}
    if kind == "t5":  # whose layers hand on what the first makes of positions
        small = {"vocab_size": 50_368, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **small)
    AutoModel.from_config(config).save_pretrained(tmp_path / "transformer")
    AutoTokenizer.from_pretrained(model_folder()).save_pretrained(tmp_path / "transformer")
    word = Transformer(str(tmp_path / "transformer"))
    pooling = Pooling(word.get_embedding_dimension())
    SentenceTransformer(modules=[word, pooling]).save(str(tmp_path / "base"))
    recipe = Recipe(layers=1)
    encoder = prepared(str(tmp_path / "base"), recipe)
    reader = Reader(encoder, torch.device("cpu"))
    assert reader.frozen.count == 2
    student = Student(encoder, reader.frozen, recipe, 1).eval()
    wanted = encoder.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    found = student.vectors(reader.read(TEXTS)).detach().numpy()
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("counted", [False, True])
def test_texts_are_read_after_the_prompt_that_they_are_encoded_after(tmp_path, counted):
    base = SentenceTransformer(str(model_folder()), device="cpu")
    base.prompts["passage"], base.default_prompt_name = "passage: ", "passage"
    base[1].include_prompt = counted
    base.save(str(tmp_path))
    encoder = prepared(str(tmp_path), Recipe())
    reader = Reader(encoder, torch.device("cpu"))
    student = Student(encoder, reader.frozen, Recipe(), 1).eval()
    texts = [*TEXTS, *(f"mug {i}" for i in range(40))]  # in parts of like length
    wanted = encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    bare = encoder.encode(texts, prompt="", normalize_embeddings=True, show_progress_bar=False)
    found = student.vectors(reader.read(texts)).detach().numpy()
    assert np.abs(found - bare).max() > 1e-2
    assert np.abs(found - wanted).max() < 1e-5


def test_only_the_topmost_layers_are_trained():
    encoder = prepared(DEFAULT_MODEL, Recipe(layers=2, modules=("query", "value"), rank=4))
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert {name.split("layer.")[1][0] for name in trained} == {"4", "5"}
    assert all("query" in name or "value" in name for name in trained)
    assert trainable_share(encoder) == pytest.approx(2 * 2 * 4 * 2 * 384 / 22_713_216)


@pytest.mark.parametrize("layers", [2, 0])
def test_a_worst_case_step_is_uphill_and_as_long_as_asked_for(layers):
    recipe = Recipe(layers=layers, meaning=0.0)
    encoder = prepared(DEFAULT_MODEL, recipe)
    reader = Reader(encoder, torch.device("cpu"), word_vectors=True)
    student = Student(encoder, reader.frozen, recipe, 1).eval()
    target = torch.tensor([[0.5], [1.0], [-1.0], [0.0], [-0.5]])
    lesson = Lesson(reader.read(TEXTS), torch.arange(5), target, torch.ones(5, 1))
    hidden = lesson.products.hidden
    hidden.requires_grad_()
    loss = student(lesson)
    loss.backward()
    harder = lesson.at_worst(0.01)
    with torch.no_grad():
        assert student(harder) > loss
    moved = (harder.products.hidden - hidden).norm(dim=2)
    stands = lesson.products.features["attention_mask"].bool() & (hidden.grad.norm(dim=2) > 0)
    torch.testing.assert_close(moved[stands], 0.01 * hidden.norm(dim=2)[stands])
    assert (moved[~stands] == 0).all()


def test_the_default_trains_less_than_a_twentieth():
    assert trainable_share(prepared(DEFAULT_MODEL, Recipe())) < 0.05


def test_layers_and_modules_that_are_not_there_are_named():
    transformer = prepared(DEFAULT_MODEL, Recipe())[0].auto_model
    with pytest.raises(ValueError, match="layers is 7: the model has 6"):
        adapted_modules(transformer.get_base_model(), 7, ())
    encoder = prepared(DEFAULT_MODEL, Recipe())
    del encoder
    with pytest.raises(ValueError, match=r"modules: none is called kwery; choose among dense, key"):
        prepared(DEFAULT_MODEL, Recipe(modules=("kwery",)))


def test_a_model_without_layers_is_refused():
    with pytest.raises(NotATransformer, match="Sequential has no stack"):
        stack_of(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("layers", [2, 0])
def test_texts_are_computed_beside_others_of_like_length(layers):
    recipe = Recipe(layers=layers)
    encoder = prepared(DEFAULT_MODEL, recipe)
    reader = Reader(encoder, torch.device("cpu"), word_vectors=True)
    student = Student(encoder, reader.frozen, recipe, 1).eval()
    texts = [f"mug {i} " + "of blue and white stoneware " * (i % 7) for i in range(70)]
    read = reader.read(texts)
    parts = read.by_length()
    assert sorted(torch.cat(parts).tolist()) == list(range(70))
    assert max(len(rows) for rows in parts) <= 32
    computed = sum(read.take(rows).features["input_ids"].numel() for rows in parts)
    there = int(read.features["attention_mask"].sum())
    assert there <= computed < 0.8 * read.features["input_ids"].numel()
    read.hidden.requires_grad_()
    vectors = student.vectors(read)
    wanted = encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(vectors.detach().numpy() - wanted).max() < 1e-5
    (vectors @ torch.randn(384)).sum().backward()
    felt = read.hidden.grad.norm(dim=2) > 0
    assert (felt == read.features["attention_mask"].bool()).all()  # each token, and no padding


@pytest.mark.parametrize(
    "choice",
    [
        {"use_dora": True, "target_modules": ["query", "dense"]},
        {"target_modules": ["query", "word_embeddings"]},
        {"use_dora": True, "target_modules": ["query", "word_embeddings"]},
    ],
    ids=str,
)
def test_next_to_nothing_of_an_earlier_adapter_is_the_base_model(tmp_path, choice):
    encoder = prepared(DEFAULT_MODEL, Recipe())
    plain = encoder[0].auto_model.unload()
    wanted = encoder.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    torch.manual_seed(0)
    adapted = get_peft_model(plain, LoraConfig(r=4, **choice))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "lora_embedding_" in name:
                parameter.normal_(0, 0.1)
            elif "magnitude" in name:
                parameter.mul_(1.3)
    adapted.save_pretrained(tmp_path)
    for share, least, most in ((1.0, 0.02, 2.0), (1e-6, 0.0, 1e-4)):
        begun = prepared(DEFAULT_MODEL, Recipe(init_share=share), tmp_path)
        found = begun.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
        assert least <= np.abs(found - wanted).max() < most
