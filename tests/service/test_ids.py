import uuid

import numpy as np
from drawn_ids import DrawnIds
from hypothesis import given
from hypothesis import strategies as st

from bandits import uniforms
from service.ids import as_text, as_words, canonical, decision_ids, lowest

NOON = 1_780_000_000_000_000


def test_an_id_is_a_uuid_of_version_7_that_carries_its_milliseconds():
    for text in as_text(decision_ids(100, NOON)):
        read = uuid.UUID(text)
        assert read.version == 7
        assert read.variant == uuid.RFC_4122
        assert read.int >> 80 == NOON // 1000
        assert text == str(read)


def test_ids_of_one_batch_rise_and_differ():
    ids = as_text(decision_ids(5000, NOON))
    assert ids == sorted(ids)
    assert len(set(ids)) == 5000


@given(st.integers(-10_000_000, 10_000_000))
def test_ids_rise_above_an_earlier_one_whatever_the_clock_says(moved):
    before = as_text(decision_ids(3, NOON))[-1]
    assert as_text(decision_ids(3, NOON + moved, after=before))[0] > before


def test_the_lowest_id_of_a_time_parts_what_was_decided_before_from_the_rest():
    for late in (0, 999):  # of its millisecond
        assert lowest(NOON + late) <= as_text(decision_ids(1, NOON))[0]
    assert lowest(NOON) > as_text(decision_ids(1, NOON - 1))[0]
    assert uuid.UUID(lowest(NOON)).int >> 80 == NOON // 1000


def test_text_and_words_are_inverse():
    ids = decision_ids(10, NOON)
    np.testing.assert_array_equal(as_words(as_text(ids)), ids)


def test_canonical_takes_any_spelling_of_a_uuid_and_nothing_else():
    text = as_text(decision_ids(1, NOON))[0]
    assert canonical(text.upper()) == text
    assert canonical(text.replace("-", "")) == text
    assert canonical("7") is None
    assert canonical("") is None


def test_drawn_ids_are_sound_and_their_draws_owe_nothing_to_the_clock():
    drawn, found = DrawnIds(), []
    for at in (NOON, NOON + 86_400_123_456):
        drawn.start("one")
        ids = drawn(3000, at)
        texts = as_text(ids)
        assert texts == sorted(set(texts))
        assert all((i := uuid.UUID(t)).version == 7 and i.variant == uuid.RFC_4122 for t in texts)
        assert lowest(at) <= texts[0] < lowest(at + 1000)
        assert as_text(drawn(1, at, after=texts[-1]))[0] > texts[-1]
        found.append(uniforms(ids))
    np.testing.assert_array_equal(*found)
    assert abs(np.mean(found[0]) - 0.5) < 0.02
    drawn.start("two")
    assert uniforms(drawn(1, NOON)) != found[0][:1]
