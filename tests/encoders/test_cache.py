import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from encoders import CacheWriteError, EmbeddingCache
from encoders import cache as cache_module
from encoders.log import MERGE_AT


def segments(directory):
    return sorted(directory.rglob("*.seg"))


def assert_embeds(cache, fake, texts):
    """Whatever happened before, vectors are right."""
    got = cache.embed(texts)
    assert (got.vectors == fake.vectors(texts)).all()
    assert got.encoded + got.cached == len(texts)
    return got


def test_each_text_is_encoded_once_ever(tmp_path):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    first = cache.embed(["a", "b", "a", ""])
    assert (first.encoded, first.cached) == (3, 1)
    assert first.ids.tolist() == [0, 1, 0, 2]
    assert first.ids.dtype == np.int64
    assert (first.vectors == fake.vectors(["a", "b", "a", ""])).all()
    assert cache.missing(["c", "a", "c", "d"]) == ["c", "d"]
    second = cache.embed(["c", "a"])
    assert (second.encoded, second.cached, len(cache)) == (1, 1, 4)
    assert (cache.vectors(second.ids) == second.vectors).all()
    assert fake.encoded == ["a", "b", "", "c"]

    reborn = HashingEncoder()
    assert_embeds(EmbeddingCache(tmp_path, reborn), reborn, ["a", "b", "c", ""])
    assert reborn.encoded == []


def test_nothing(tmp_path):
    cache = EmbeddingCache(tmp_path, HashingEncoder())
    nothing = cache.embed([])
    assert (nothing.ids.shape, nothing.vectors.shape, nothing.encoded) == ((0,), (0, 8), 0)
    assert cache.vectors(nothing.ids).shape == (0, 8)
    assert cache.delete(["a"]) == 0
    assert len(cache) == 0


def test_difficult_texts(tmp_path):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    assert_embeds(cache, fake, ["", "🙂", "x" * 32_768, "\ud800", "a\nb", "a b"])
    with pytest.raises(TypeError, match="one string"):
        cache.embed("text")
    with pytest.raises(TypeError, match=r"texts\[1\] is int"):
        cache.embed(["a", 1])


def test_progress_counts_what_is_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_TEXTS_PER_SEGMENT", 2)
    cache = EmbeddingCache(tmp_path, HashingEncoder())
    cache.embed(["a"])
    seen = []
    cache.embed(["a", "b", "b", "c", "d"], lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]


def test_another_model_or_dimension_starts_afresh(tmp_path):
    EmbeddingCache(tmp_path, HashingEncoder(fingerprint="a1")).embed(["a"])
    for fake in (HashingEncoder(fingerprint="a2"), HashingEncoder(dim=4, fingerprint="a3")):
        assert assert_embeds(EmbeddingCache(tmp_path, fake), fake, ["a"]).encoded == 1
    with pytest.raises(ValueError, match="fingerprint"):
        EmbeddingCache(tmp_path, HashingEncoder(fingerprint="../up"))


def test_fingerprints_alike_in_their_first_letters_do_not_mix(tmp_path):
    for end in ("a", "b"):
        fake = HashingEncoder(fingerprint="f" * 40 + end)
        assert assert_embeds(EmbeddingCache(tmp_path, fake), fake, ["a"]).encoded == 1


def test_deleted_texts_stay_deleted(tmp_path):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    ids = cache.embed(["a", "b", "c"]).ids
    assert cache.delete(["b", "b", "never"]) == 1
    assert len(cache) == 2
    for each in (cache, EmbeddingCache(tmp_path, fake)):
        _, found = each.neighbours(fake.vectors(["b"]), 3)
        assert sorted(each.vectors(found[0, :2]).tolist()) == sorted(
            fake.vectors(["a", "c"]).tolist()
        )
        assert found[0, 2] == -1
    again = cache.embed(["b"])
    assert again.encoded == 1
    assert again.ids[0] not in ids  # a held id never comes to mean something else
    assert EmbeddingCache(tmp_path, fake).embed(["a", "b", "c"]).encoded == 0


def test_unknown_ids_are_refused(tmp_path):
    cache = EmbeddingCache(tmp_path, HashingEncoder())
    cache.embed(["a"])
    for wrong in (-1, 1):
        with pytest.raises(IndexError, match=f"slot id {wrong} "):
            cache.vectors(np.array([0, wrong]))


def test_segments_are_merged(tmp_path):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    texts = [str(i) for i in range(5 * MERGE_AT)]
    for text in texts:
        cache.embed([text])
    assert len(segments(tmp_path)) < 2 * MERGE_AT
    cache.delete(texts[:60])
    assert len(segments(tmp_path)) == 1  # most were dead: all rewritten
    assert segments(tmp_path)[0].stat().st_size == 64 + 20 * (16 + 4 * 8) + 32
    reborn = EmbeddingCache(tmp_path, fake)
    assert len(reborn) == 20
    assert assert_embeds(reborn, fake, texts).encoded == 60


def test_a_torn_segment_costs_its_texts_only(tmp_path):
    fake = HashingEncoder(dim=2)
    cache = EmbeddingCache(tmp_path, fake)
    for texts in (["a", "b"], ["c"], ["d"]):
        cache.embed(texts)
    cache.delete(["d"])
    _, middle, _, _ = segments(tmp_path)
    whole = middle.read_bytes()
    for length in range(len(whole)):
        middle.write_bytes(whole[:length])
        reborn = EmbeddingCache(tmp_path, HashingEncoder(dim=2))
        assert len(reborn) == 2
        _, ids = reborn.neighbours(fake.vectors(["a"]), 3)
        assert ids.tolist() == [[0, 1, -1]] or ids.tolist() == [[1, 0, -1]]
    got = assert_embeds(reborn, fake, ["a", "b", "c", "d"])
    assert got.encoded == 2
    assert EmbeddingCache(tmp_path, fake).embed(["a", "b", "c", "d"]).encoded == 0


@pytest.mark.parametrize("leave", ["merged torn", "merged whole", "half unlinked"])
def test_a_merge_cut_short_changes_nothing(tmp_path, leave):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    kept = {}

    def merged_by(change):
        before = {path: path.read_bytes() for path in segments(tmp_path)}
        kept.update(before)
        change()
        return len(segments(tmp_path)) < len(before)

    # "dead" is added by an early segment and deleted by a late one.
    done = ["0", "1", "2"]
    assert not merged_by(lambda: cache.embed(["dead", *done]))
    while not merged_by(lambda: cache.embed(done[-1:])):
        if len(segments(tmp_path)) == MERGE_AT - 2:
            assert not merged_by(lambda: cache.delete(["dead"]))
        done.append(str(len(done)))
    # Either all of what was merged is still there, or only the older part of it.
    (merged,) = segments(tmp_path)
    names = sorted(path for path in kept if path != merged)
    for path in names[: len(names) // 2] if leave == "half unlinked" else names:
        path.write_bytes(kept[path])
    if leave == "merged torn":
        merged.write_bytes(merged.read_bytes()[:-1])
    reborn = EmbeddingCache(tmp_path, HashingEncoder())
    assert assert_embeds(reborn, fake, done).encoded == (1 if leave == "merged torn" else 0)
    assert len(reborn) == len(done)  # and "dead" did not come back


def test_left_over_temporary_files_are_swept(tmp_path):
    EmbeddingCache(tmp_path, HashingEncoder()).embed(["a"])
    (tmp_path / "a1" / "000000000009-000000000009.seg.tmp").write_bytes(b"half")
    EmbeddingCache(tmp_path, HashingEncoder())
    assert sorted(p.suffix for p in (tmp_path / "a1").iterdir()) == ["", ".seg"]


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheWriteError, match="cannot be written"):
        EmbeddingCache(tmp_path / "file" / "cache", HashingEncoder())


def test_a_full_disk(tmp_path, monkeypatch, caplog):
    fake = HashingEncoder()
    cache = EmbeddingCache(tmp_path, fake)
    cache.embed(["a"])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        assert assert_embeds(cache, fake, ["a", "b"]).encoded == 1  # still answers
        assert_embeds(cache, fake, ["b", "c"])
        assert (cache.unsaved, len(cache)) == (2, 3)
        assert "No space left on device" in caplog.text
        with pytest.raises(CacheWriteError, match="nothing was deleted"):
            cache.delete(["a"])
        assert len(cache) == 3
    assert len(EmbeddingCache(tmp_path, fake)) == 1
    assert_embeds(cache, fake, ["d"])
    assert cache.unsaved == 0
    assert assert_embeds(EmbeddingCache(tmp_path, fake), fake, list("abcd")).encoded == 0


def test_what_could_not_be_saved_outlives_a_merge_by_another_process(tmp_path, monkeypatch):
    fake = HashingEncoder()
    one, other = EmbeddingCache(tmp_path, fake), EmbeddingCache(tmp_path, fake)
    one.embed(["first"])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        held = one.embed(["held"])
    for i in range(5 * MERGE_AT):
        other.embed([str(i)])
    assert len(segments(tmp_path)) < 5 * MERGE_AT  # merged, without what was held
    one.embed(["another"])
    assert one.unsaved == 0
    assert one.embed(["held"]).ids.tolist() == held.ids.tolist()
    assert one.neighbours(held.vectors, 1, held.ids)[1].tolist() == [held.ids.tolist()]
    assert assert_embeds(EmbeddingCache(tmp_path, fake), fake, ["held"]).encoded == 0


def test_two_processes_share_a_directory(tmp_path):
    one, two = HashingEncoder(), HashingEncoder()
    a, b = EmbeddingCache(tmp_path, one), EmbeddingCache(tmp_path, two)
    for i in range(3 * MERGE_AT):
        assert_embeds(a, one, [f"a{i}"])
        assert_embeds(b, two, [f"b{i}"])
    a.delete(["a0", "b0"])
    # b learns what a did when it next has something to encode.
    assert assert_embeds(b, two, ["a1", "new"]).encoded == 1
    assert len(a) + 1 == len(b) == len(EmbeddingCache(tmp_path, two)) == 6 * MERGE_AT - 1
    assert not {"a1", "a2", "a0"} & set(two.encoded)


def test_threads(tmp_path):
    fake = HashingEncoder(dim=4)
    cache = EmbeddingCache(tmp_path, fake)
    cache.embed(["seed"])
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            scores, ids = cache.neighbours(fake.vectors(["seed"]), 3)
            if abs(scores[0, 0] - 1) > 1e-5 or (cache.vectors(ids[:, 0]) != seed).any():
                wrong.append((scores, ids))

    def write(which):
        for i in range(40):
            texts = [f"{which}-{i}", f"both-{i}", "seed"]
            if (cache.embed(texts).vectors != fake.vectors(texts)).any():
                wrong.append(texts)
            cache.delete([f"{which}-{i}"])

    seed = fake.vectors(["seed"])
    writers = [threading.Thread(target=write, args=(w,)) for w in "ab"]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert wrong == []
    assert len(cache) == len(EmbeddingCache(tmp_path, fake)) == 41


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hashing_encoder import HashingEncoder
from encoders import EmbeddingCache
import encoders.cache
encoders.cache._TEXTS_PER_SEGMENT = 7
cache = EmbeddingCache(Path(sys.argv[1]), HashingEncoder(dim=64))
print("ready", flush=True)
for i in range(10**6):
    cache.embed([f"{i}-{j}" for j in range(20)])
    cache.delete([f"{i}-0"])
    print(i, flush=True)
"""


def test_killed_at_any_moment(tmp_path):
    chance = np.random.default_rng(7)
    fake = HashingEncoder(dim=64)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.4))
            child.send_signal(signal.SIGKILL)
            finished = len(child.stdout.read().splitlines())
        cache = EmbeddingCache(tmp_path, HashingEncoder(dim=64))
        acknowledged = [f"{i}-{j}" for i in range(finished) for j in range(1, 20)]
        assert assert_embeds(cache, fake, acknowledged).encoded == 0
        gone = [f"{i}-0" for i in range(finished)]
        assert cache.delete(gone) == 0
        assert_embeds(cache, fake, [f"{finished}-{j}" for j in range(20)])


class AgainstADictionary(RuleBasedStateMachine):
    """Any history of embeddings, deletions and restarts leaves what a dictionary would."""

    texts = st.lists(st.sampled_from([str(i) for i in range(8)]), max_size=5)

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.fake = HashingEncoder(dim=4)
        self.known = set()
        self.caches = []
        self.restart()

    @rule()
    def restart(self):
        self.cache = EmbeddingCache(Path(self.folder.name), self.fake)

    @rule(texts=texts)
    def embed(self, texts):
        new = len(set(texts) - self.known)
        assert assert_embeds(self.cache, self.fake, texts).encoded == new
        self.known |= set(texts)

    @rule(texts=texts)
    def delete(self, texts):
        assert self.cache.delete(texts) == len(set(texts) & self.known)
        self.known -= set(texts)

    @precondition(lambda self: self.known)
    @rule()
    def merge(self):
        self.cache._log._merge(self.cache._log._files())

    @invariant()
    def found_is_what_is_known(self):
        assert len(self.cache) == len(self.known)
        _, ids = self.cache.neighbours(np.eye(1, 4, dtype=np.float32), 8)
        got = self.cache.vectors(ids[ids >= 0])
        assert sorted(got.tolist()) == sorted(self.fake.vectors(sorted(self.known)).tolist())

    def teardown(self):
        self.folder.cleanup()


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
