import numpy as np
import pytest

from encoders.segments import read_segment, segment_bytes, write_whole

KEYS = [bytes([i] * 16) for i in range(3)]
DEAD = [bytes([9] * 16)]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "one.seg"
    write_whole(path, segment_bytes(KEYS, DEAD, [VECTORS[:1], VECTORS[1:]], 2, "f"))
    return path


def test_what_is_written_is_read(path):
    segment = read_segment(path, 2, "f")
    assert (segment.keys, segment.dead, segment.vectors.tolist()) == (KEYS, DEAD, VECTORS.tolist())
    assert [p.name for p in path.parent.iterdir()] == ["one.seg"]


def test_cut_anywhere_it_is_torn(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_segment(path, 2, "f") is None
    path.write_bytes(whole + b"\0")
    assert read_segment(path, 2, "f") is None


def test_any_changed_byte_tears_it(path):
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert read_segment(path, 2, "f") is None


def test_another_encoders_segment_is_not_read(path):
    assert read_segment(path, 3, "f") is None
    assert read_segment(path, 2, "g") is None


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def parts():
        yield b"begun"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "one.seg", parts())
    assert list(tmp_path.iterdir()) == []
