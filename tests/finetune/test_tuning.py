import json
import os
import resource
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from small_products import small_products
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

from encoders import DEFAULT_MODEL, AdapterError, Encoder, base_weights, model_folder, trained_texts
from finetune import Augmentation, Hardware, Listener, Recipe, adapter, tune, tuning
from finetune.adapter import prepared
from finetune.checkpoint import NAME, AnotherRun
from finetune.judging import judge
from finetune.training import split
from finetune.tuning import WEIGHTS, OutputTaken

SHORT = Recipe(rank=4, layers=2, epochs=3, batch=16, held_out=0.2, seed=3)
CPU = Hardware(cpu=True)


class Killed(BaseException):
    """Ends a run as a signal would: nothing of it catches this."""


def killed_at(step):
    def stop(done, _):
        if done == step:
            raise Killed

    return Listener(step=stop)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    found = tune(small_products(), folder / "adapter", SHORT, hardware=CPU, source="made up",
                 merged=folder / "merged")  # fmt: skip
    return found, folder


def test_the_folder_is_a_plain_peft_adapter_and_the_service_reads_it(tuned):
    found, folder = tuned
    names = {path.name for path in found.folder.iterdir()}
    assert names == {
        WEIGHTS, "adapter_config.json", "README.md", base_weights.FILE, trained_texts.FILE
    }  # fmt: skip
    texts = small_products().text[:8]
    base = SentenceTransformer(str(model_folder(DEFAULT_MODEL)), device="cpu")
    before = base.encode(texts, normalize_embeddings=True)
    base[0].model = PeftModel.from_pretrained(base[0].auto_model, str(found.folder))
    plain = base.encode(texts, normalize_embeddings=True)
    ours = Encoder(adapter=str(found.folder)).encode(texts)
    merged = Encoder(str(folder / "merged")).encode(texts)
    assert np.abs(plain - before).max() > 1e-3
    assert np.abs(plain - ours).max() < 1e-5
    assert np.abs(plain - merged).max() < 1e-5


def test_an_encoder_knows_what_it_was_trained_on(tuned):
    found, folder = tuned
    text = small_products().text
    encoder = Encoder(adapter=str(found.folder))
    seen = encoder.trained_on(text)
    assert seen.sum() == found.learned
    assert (Encoder(str(folder / "merged")).trained_on(text) == seen).all()
    dressed = [f"{t.upper()} | brand: Acme | with a saucer" for t in text]
    assert (encoder.trained_on(dressed) == seen).all()
    assert not Encoder().trained_on(text).any()


def test_the_card_says_what_it_was_made_from_and_how_good_it_is(tuned):
    found, _ = tuned
    card = (found.folder / "README.md").read_text()
    assert f"base_model: {DEFAULT_MODEL}" in card
    assert found.base[1] in card
    assert "made up: 64 products in 32 groups" in card
    assert f"{found.learned} products learned from, {found.held_out} held out" in card
    assert "rank: 4" in card
    assert "seed: 3" in card
    assert "did best on these products" not in card
    r2 = found.judgement.r2
    assert f"| | {' | '.join(r2)} |" in card
    for method in r2["log price"]:
        cells = [f"{by[method]:.3f}" if method in by else "" for by in r2.values()]
        assert f"| {method} | {' | '.join(cells)} |" in card


def test_variants_of_a_product_are_on_one_side(tuned):
    found, _ = tuned
    assert (found.learned, found.held_out) == (52, 12)  # a fifth of 32 groups of two, rounded


@pytest.mark.slow
def test_prices_in_the_words_of_unseen_products_are_learned(tmp_path):
    recipe = Recipe(epochs=12, batch=32, held_out=0.25, patience=0)
    found = tune(small_products(160), tmp_path, recipe, hardware=CPU).judgement
    price = found.r2["log price"]
    assert 1 - price["tuned, neighbours"] < 0.5 * (1 - price["base, neighbours"])
    assert price["tuned, ridge"] > 0.9
    assert found.kept > 0.7
    assert found.takeover.held


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tuned, tmp_path, monkeypatch, step):
    monkeypatch.setattr("finetune.training.SAVE_SECONDS", 0.0)  # after every step
    whole = load_file(tuned[0].folder / WEIGHTS)
    with pytest.raises(Killed):
        tune(small_products(), tmp_path, SHORT, hardware=CPU, listener=killed_at(step))
    assert not (tmp_path / WEIGHTS).exists()
    if (state := torch.load(tmp_path / NAME) if (tmp_path / NAME).exists() else None) is not None:
        torch.save(state | {"seconds": 5000.0}, tmp_path / NAME)
    found = tune(small_products(), tmp_path, SHORT, hardware=CPU)
    assert (found.seconds > 5000) == (state is not None)
    assert f"{found.seconds:.0f} s on cpu, precision no" in (tmp_path / "README.md").read_text()
    resumed = load_file(tmp_path / WEIGHTS)
    assert whole.keys() == resumed.keys()
    assert max(np.abs(whole[name] - resumed[name]).max() for name in whole) <= 1e-6
    assert [e.held_out for e in found.epochs] == pytest.approx(
        [e.held_out for e in tuned[0].epochs], abs=1e-6
    )


def test_a_run_killed_while_it_is_judged_ends_in_the_same_adapter(tuned, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    with monkeypatch.context() as context:
        context.setattr("finetune.tuning.judge", killed)
        with pytest.raises(Killed):
            tune(small_products(), tmp_path, SHORT, hardware=CPU)
    tune(small_products(), tmp_path, SHORT, hardware=CPU)
    whole, again = (load_file(f / WEIGHTS) for f in (tuned[0].folder, tmp_path))
    assert max(np.abs(whole[name] - again[name]).max() for name in whole) <= 1e-6


def test_another_run_may_not_go_on_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("finetune.training.SAVE_SECONDS", 0.0)
    with pytest.raises(Killed):
        tune(small_products(), tmp_path, SHORT, hardware=CPU, listener=killed_at(2))
    for other in (replace(SHORT, seed=4), replace(SHORT, learning_rate=1e-3)):
        with pytest.raises(AnotherRun, match=r"other data, base model or options: give another"):
            tune(small_products(), tmp_path, other, hardware=CPU)
    with pytest.raises(AnotherRun):
        tune(small_products(seed=1), tmp_path, SHORT, hardware=CPU)
    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision
    try:
        with pytest.raises(AnotherRun):
            tune(small_products(), tmp_path, SHORT, hardware=Hardware(cpu=True, precision="bf16"))
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    (tmp_path / NAME).write_bytes(b"torn")
    with pytest.raises(AnotherRun, match="cannot be read"):
        tune(small_products(), tmp_path, SHORT, hardware=CPU)
    one = replace(SHORT, epochs=1)
    assert tune(small_products(), tmp_path, one, hardware=CPU, restart=True).best == 1


def test_what_is_there_is_not_overwritten(tuned, tmp_path):
    with pytest.raises(OutputTaken, match="holds an adapter already"):
        tune(small_products(), tuned[0].folder, SHORT, hardware=CPU)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputTaken, match=r"thesis\.txt"):
        tune(small_products(), tmp_path, SHORT, hardware=CPU)
    with pytest.raises(OutputTaken, match="is not empty"):
        tune(small_products(), tmp_path / "new", SHORT, hardware=CPU, merged=tmp_path)


@pytest.mark.parametrize(
    "own", ["out/README.md", "out/adapter_config.json", "out/part/README.md", "merged.part/chapter"]
)
def test_files_that_only_look_like_a_runs_are_not_overwritten(tmp_path, own):
    path = tmp_path / own
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    where = {"output": tmp_path / "out", "merged": tmp_path / "merged"}
    with pytest.raises(OutputTaken, match=r"none of a training run's files|is in the way of"):
        tune(small_products(), recipe=SHORT, hardware=CPU, **where)
    assert path.read_text() == "years of work"


def test_a_run_killed_while_it_delivered_may_begin_anew(tmp_path, monkeypatch):
    recipe, replaced = replace(SHORT, epochs=1), os.replace

    def killed(source, target):
        replaced(source, target)
        if target.name == "README.md":
            raise Killed

    with monkeypatch.context() as context:
        context.setattr("finetune.tuning.os.replace", killed)
        with pytest.raises(Killed):
            tune(small_products(), tmp_path, recipe, hardware=CPU)
    assert (tmp_path / "README.md").exists()
    with pytest.raises(Killed):
        tune(small_products(), tmp_path, recipe, hardware=CPU, restart=True, listener=killed_at(1))
    assert list(tmp_path.iterdir()) == []
    found = tune(small_products(), tmp_path, recipe, hardware=CPU, restart=True)
    assert (found.folder / WEIGHTS).exists()


def test_training_stops_when_it_no_longer_helps(tmp_path):
    noise = small_products()
    stream = np.random.default_rng(0)
    noise = replace(noise, target=stream.normal(size=noise.target.shape))
    recipe = replace(SHORT, epochs=30, patience=2, learning_rate=1e-2)
    found = tune(noise, tmp_path, recipe, hardware=CPU)
    assert len(found.epochs) == found.best + 2 < 30
    assert found.best == 1 + int(np.argmin([e.held_out for e in found.epochs]))
    assert "kept the epoch that did best on these products" in (tmp_path / "README.md").read_text()


def test_an_adapter_of_another_catalogue_is_gone_on_from(tuned, tmp_path):
    found = tune(small_products(seed=5), tmp_path, replace(SHORT, epochs=1, rank=16),
                 init=tuned[0].folder, hardware=CPU)  # fmt: skip
    config = json.loads((found.folder / "adapter_config.json").read_text())
    assert config["r"] == SHORT.rank  # the earlier one's, not the recipe's
    card = (found.folder / "README.md").read_text()
    assert "- rank, alpha, rslora, dora, layers, modules: of the adapter begun with" in card
    assert "rank: 16" not in card
    assert "layers: 2" not in card
    before, after = (load_file(f / WEIGHTS) for f in (tuned[0].folder, found.folder))
    moved = max(np.abs(before[name] - after[name]).max() for name in before)
    fresh = max(np.abs(before[name]).max() for name in before if "lora_B" in name)
    assert 0 < moved < fresh


def test_an_adapter_of_another_base_is_not_gone_on_from(tuned, tmp_path):
    told = tmp_path / "told"
    shutil.copytree(tuned[0].folder, told)
    (told / base_weights.FILE).write_text("0" * 64)
    with pytest.raises(AdapterError, match="was trained on weights with SHA-256 '0000"):
        tune(small_products(seed=5), tmp_path / "new", SHORT, init=told, hardware=CPU)
    assert not (tmp_path / "new").exists()


def test_what_an_earlier_adapter_had_learned_judges_nothing(tuned, tmp_path):
    products = small_products()
    recipe = replace(SHORT, epochs=1, held_out=0.5, seed=9)
    found = tune(products, tmp_path, recipe, init=tuned[0].folder, hardware=CPU)
    seen = Encoder(adapter=str(tuned[0].folder)).trained_on(products.text)
    ours = Encoder(adapter=str(tmp_path)).trained_on(products.text)
    held = found.held_out
    assert ours.sum() == found.learned + found.init[1]  # it knows what both were trained on
    assert found.init[0] == tuned[0].folder.name
    assert 0 < found.init[1] == int(seen.sum()) - int((seen & ~split_off(products, recipe)).sum())
    card = (tmp_path / "README.md").read_text()
    assert f"which had learned {found.init[1]} of those held out" in card
    assert found.judgement.r2 == {}  # fewer than ten are left to judge by
    assert "Begun with" not in (tuned[0].folder / "README.md").read_text()
    assert held == split_off(products, recipe).sum()


def split_off(products, recipe):
    return split(products, recipe.held_out, recipe.seed)


def test_a_text_sold_in_two_groups_is_on_one_side():
    products = small_products()
    text = [f"the same {i % 32}".upper() if i < 32 else f"the same {i % 32}" for i in range(64)]
    twice = replace(products, text=text, group=np.array([str(i) for i in range(64)], object))
    for seed in range(5):
        held = split(twice, 0.2, seed)
        assert (held[:32] == held[32:]).all()
        assert held.sum() == 12  # a fifth of 32 pairs, rounded
    chain = replace(products, text=[f"t{(i + 1) // 2}" for i in range(64)])
    with pytest.raises(ValueError, match="all products are of one group"):
        split(chain, 0.2, 0)


def test_who_is_held_out_is_no_matter_of_the_order_of_products():
    products = small_products()
    text = list(products.text)
    text[1], text[5], text[9] = text[60], text[40], text[63]  # groups that share a text
    products = replace(products, text=text)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(64)
        turned = split(products.take(order), 0.2, 3)
        assert (turned == split(products, 0.2, 3)[order]).all()


@pytest.mark.parametrize("begun", ["adapter", "merged"])
def test_no_variant_of_what_was_learned_before_judges(tmp_path, monkeypatch, begun):
    asked = []

    def spy(encoder, products, held, seed):
        asked.append(held)
        return judge(encoder, products, held, seed)

    monkeypatch.setattr("finetune.tuning.judge", spy)
    products = small_products(128)
    short = replace(SHORT, epochs=1, held_out=0.1)
    one_of_each = products.take(np.arange(0, 128, 2))
    before = tune(one_of_each, tmp_path / "adapter", short, hardware=CPU,
                  merged=tmp_path / "merged")  # fmt: skip
    from_it = {"adapter": {"init": tmp_path / "adapter"}, "merged": {"base": str(tmp_path / begun)}}
    found = tune(products, tmp_path / "new", replace(short, held_out=0.5, seed=9), hardware=CPU,
                 **from_it[begun])  # fmt: skip
    known = Encoder(adapter=str(before.folder)).trained_on(products.text)
    assert asked[-1].any()
    assert not np.isin(products.group[asked[-1]], products.group[known]).any()
    assert found.init == (begun, int((known & split_off(products, found.recipe)).sum()))
    assert f"Begun with `{begun}`" in (found.folder / "README.md").read_text()


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_as_much_of_an_earlier_adapter_is_begun_with_as_is_asked_for(tuned, share):
    begun = prepared(DEFAULT_MODEL, replace(SHORT, init_share=share), tuned[0].folder)
    before = load_file(tuned[0].folder / WEIGHTS)
    ours = get_peft_model_state_dict(begun[0].auto_model)
    assert ours.keys() == before.keys()
    for name, value in before.items():
        expected = value * share if "lora_B" in name else value
        np.testing.assert_allclose(ours[name].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "choice",
    [
        {"dora": True}, {"rslora": True}, {"layers": 0, "modules": ("query",)}, {"together": 0.5},
        {"adversarial": 0.0}, {"head": 0.0}, {"neighbours": 0.0}, {"meaning": 0.0},
        {"accumulate": 2}, {"held_out": 0.0}, {"tasks": ("log demand",)},
    ],
    ids=str,
)  # fmt: skip
def test_every_choice_changes_the_adapter_and_leaves_it_sound(tuned, tmp_path, choice):
    found = tune(small_products(), tmp_path, replace(SHORT, **choice), hardware=CPU)
    ours, usual = load_file(found.folder / WEIGHTS), load_file(tuned[0].folder / WEIGHTS)
    assert all(np.isfinite(value).all() for value in ours.values())
    same = ours.keys() == usual.keys() and all(
        ours[name].shape == usual[name].shape and np.array_equal(ours[name], usual[name])
        for name in ours
    )
    assert not same
    assert np.isfinite(Encoder(adapter=str(found.folder)).encode(["mug", ""])).all()


def test_augmentation_changes_what_is_learned(tuned, tmp_path):
    words = Augmentation(word_dropout=0.3, reorder=0.3)
    found = tune(small_products(), tmp_path, SHORT, words, hardware=CPU)
    ours, usual = (load_file(f / WEIGHTS) for f in (found.folder, tuned[0].folder))
    assert any(not np.array_equal(ours[name], usual[name]) for name in ours)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tasks": ("log weight",)}, r"tasks: the data say nothing of log weight; choose among"),
        ({"layers": 9}, "layers is 9: the model has 6; give 1 to 6"),
        ({"layers": -6}, "layers is -6: the model has 6; give .* -1 to -5 for"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(tmp_path, wrong, said):
    with pytest.raises(ValueError, match=said):
        tune(small_products(), tmp_path / "out", replace(SHORT, **wrong), hardware=CPU)


def test_too_few_products_are_refused(tmp_path):
    few = small_products().take(range(6))
    with pytest.raises(ValueError, match="products to learn from: give at least 8"):
        tune(few, tmp_path / "out", SHORT, hardware=CPU)
    one = replace(small_products(), group=np.full(64, "same", object))
    with pytest.raises(ValueError, match="none can be held out, set held_out to 0"):
        tune(one, tmp_path / "out", SHORT, hardware=CPU)


def test_hostile_texts_in_the_training_data_do_no_harm(tmp_path):
    products = small_products()
    text = list(products.text)
    text[:4] = ["", "x" * 100_000, "💎" * 500, "чашка 茶碗 كوب"]
    target = products.target.copy()
    target[4, 0] = 40.0  # a price of e⁴⁰
    found = tune(replace(products, text=text, target=target), tmp_path, SHORT, hardware=CPU)
    vectors = Encoder(adapter=str(found.folder)).encode([*text[:4], "red mug"])
    assert np.isfinite(vectors).all()
    assert np.isfinite([e.loss for e in found.epochs]).all()


@pytest.mark.parametrize("place", ["out", "out/merged", ".", "file"])
def test_a_merged_model_is_not_written_among_other_files(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputTaken, match=r"lie in each other|cannot be a folder|is not empty"):
        tune(small_products(), tmp_path / "out", SHORT, merged=tmp_path / place, hardware=CPU)
    assert not (tmp_path / "out" / WEIGHTS).exists()


def test_where_no_merged_model_can_be_put_is_said_before_training(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    where = {"output": tmp_path / "out", "merged": tmp_path / "link"}
    with pytest.raises(OutputTaken, match="link cannot be a folder that a finished one takes"):
        tune(small_products(), recipe=SHORT, hardware=CPU, listener=killed_at(1), **where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]


@pytest.mark.parametrize("broken", ["save_merged", "sync"])
def test_a_run_broken_off_while_the_merged_model_is_written_goes_on(tmp_path, monkeypatch, broken):
    def off(*path):
        # of the merged model's note the sync passes, of what comes after it none
        if broken == "save_merged" or path[0].parent.name == "part":
            raise ZeroDivisionError

    where = {"output": tmp_path / "out", "merged": tmp_path / "merged"}
    recipe = replace(SHORT, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(adapter if broken == "save_merged" else tuning, broken, off)
        with pytest.raises(ZeroDivisionError):
            tune(small_products(), recipe=recipe, hardware=CPU, **where)
    assert not (tmp_path / "out" / WEIGHTS).exists()
    assert (tmp_path / "merged" / "modules.json").exists() == (broken == "sync")
    with pytest.raises(OutputTaken):  # another run's is not
        tune(small_products(), tmp_path / "new", recipe, hardware=CPU, merged=tmp_path / "out")
    tune(small_products(), recipe=recipe, hardware=CPU, **where)
    texts = small_products().text[:4]
    np.testing.assert_allclose(
        Encoder(str(tmp_path / "merged")).encode(texts),
        Encoder(adapter=str(tmp_path / "out")).encode(texts),
        atol=1e-5,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "out"]
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_run_killed_when_all_is_delivered_ends_well_if_it_is_begun_again(tmp_path, monkeypatch):
    where = {"output": tmp_path / "out", "merged": tmp_path / "merged"}
    recipe = replace(SHORT, epochs=1)

    def killed(_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("finetune.checkpoint.forget", killed)
        with pytest.raises(Killed):
            tune(small_products(), recipe=recipe, hardware=CPU, **where)
    before = (tmp_path / "out" / WEIGHTS).read_bytes()
    with pytest.raises(OutputTaken, match="holds an adapter already"):
        tune(small_products(), recipe=recipe, hardware=CPU, restart=True, **where)
    with pytest.raises(AnotherRun):
        tune(small_products(), recipe=replace(recipe, seed=4), hardware=CPU, **where)
    tune(small_products(), recipe=recipe, hardware=CPU, **where)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == before
    assert not (tmp_path / "out" / NAME).exists()
    assert not list((tmp_path / "out").glob("*part"))


def test_a_full_disk_is_said_and_the_run_goes_on_where_there_is_room(tmp_path, monkeypatch):
    out, recipe = tmp_path / "out", replace(SHORT, epochs=1)

    def room(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    room(1_000)
    try:
        with pytest.raises(OSError, match=r"out cannot be written \(.*too large\): make room"):
            tune(small_products(), out, recipe, hardware=CPU)
    finally:
        room(resource.RLIM_INFINITY)

    def full(*_):
        raise SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(adapter, "save", full)
        with pytest.raises(OSError, match=r"out cannot be written \(.*No space left"):
            tune(small_products(), out, recipe, hardware=CPU)
    steps = []
    watch = Listener(step=lambda *step: steps.append(step))
    tune(small_products(), out, recipe, hardware=CPU, listener=watch)
    assert not steps
    assert (out / WEIGHTS).exists()


def test_a_target_that_is_the_same_everywhere_is_not_learned(tmp_path):
    products = small_products()
    same = np.where(np.isnan(products.target), np.nan, np.log(9.99))
    same[:, 0] += np.random.default_rng(0).choice([0.0, 4e-16], len(same))  # as means are rounded
    alike = replace(products, target=same)
    with pytest.raises(ValueError, match="log price is the same for all products"):
        tune(alike, tmp_path, SHORT, hardware=CPU)
    with pytest.raises(ValueError, match="nothing in which products differ"):
        tune(alike, tmp_path, replace(SHORT, tasks=()), hardware=CPU)
    half = np.column_stack([products.target[:, 0], same[:, 1]])
    recipe = replace(SHORT, tasks=(), epochs=1)
    found = tune(replace(products, target=half), tmp_path, recipe, hardware=CPU)
    assert set(found.judgement.r2) == {"log price"}


def test_a_model_that_reads_bytes_is_tuned_where_no_general_meaning_is_asked_for(tmp_path):
    torch.manual_seed(0)
    size = {"vocab_size": 384, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3}
    T5EncoderModel(T5Config(**size)).save_pretrained(tmp_path / "t5")
    ByT5Tokenizer().save_pretrained(tmp_path / "t5")
    word = Transformer(str(tmp_path / "t5"), max_seq_length=32)
    SentenceTransformer(modules=[word, Pooling(32)]).save(str(tmp_path / "base"))
    base = str(tmp_path / "base")
    with pytest.raises(ValueError, match="has 0 whole words: set meaning to 0"):
        tune(small_products(), tmp_path / "out", SHORT, base=base, hardware=CPU)
    recipe = replace(SHORT, meaning=0.0, epochs=1)
    found = tune(small_products(), tmp_path / "out", recipe, base=base, hardware=CPU)
    assert np.isnan(found.judgement.kept)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "too few whole words to say" in card


def test_too_many_parts_for_few_products_are_refused(tmp_path):
    recipe = replace(SHORT, batch=512, accumulate=64)
    with pytest.raises(ValueError, match="lower accumulate"):
        tune(small_products(), tmp_path, recipe, hardware=CPU)
