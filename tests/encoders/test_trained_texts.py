import io
import shutil

import numpy as np
import pytest

from encoders import AdapterError, Encoder, model_folder, trained_texts


def test_titles_are_marked_whatever_else_is_said():
    one, other = "Red Mug | brand: Acme", "red mug | for tea"
    assert len(set(trained_texts.marks([one, other, "RED MUG"]).tolist())) == 1
    assert len(set(trained_texts.marks(["red mug", "red mugs", "", "茶碗"]).tolist())) == 4
    assert trained_texts.marks([]).tolist() == []


def test_marks_are_kept_beside_an_adapter(adapter, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    assert not Encoder(adapter=str(folder)).trained_on(["red mug"]).any()
    parts = [trained_texts.marks(["red mug", "blue mug"]), trained_texts.marks(["Red Mug"])]
    trained_texts.write(folder, parts)
    encoder = Encoder(adapter=str(folder))
    assert encoder.trained_on(["RED MUG | x", "oak bowl", "blue mug"]).tolist() == [
        True, False, True
    ]  # fmt: skip
    assert encoder.trained_on([]).shape == (0,)
    # what it was trained on changes no vector
    assert encoder.fingerprint == Encoder(adapter=str(adapter)).fingerprint


def _npy(header):
    """A file that numpy takes for an array of its own, with a header of one's choice."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _npz():
    np.savez(file := io.BytesIO(), marks=np.zeros(3, np.uint64))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"torn", np.zeros(3), np.zeros((2, 2), np.uint64), _npz(), b"PK\x03\x04torn",
        _npy(b"{'descr': ["),
        _npy(b"{'descr': '<u8', 'fortran_order': False, 'shape': (100000000000000,)}\n"),
        _npy(b"{'descr': '<u8', 'fortran_order': False, 'shape': (10000000000000000000000,)}\n"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(adapter, tmp_path, content):
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    if isinstance(content, bytes):
        (folder / trained_texts.FILE).write_bytes(content)
    else:
        np.save(folder / trained_texts.FILE, content)
    with pytest.raises(AdapterError, match=r"trained_texts\.npy .*restore it, or delete it"):
        Encoder(adapter=str(folder))


def test_an_adapter_on_a_tuned_model_leaves_known_what_that_was_trained_on(adapter, tmp_path):
    tuned, more = tmp_path / "tuned", tmp_path / "more"
    shutil.copytree(model_folder(), tuned)
    shutil.copytree(adapter, more)
    trained_texts.write(tuned, [trained_texts.marks(["red mug"])])
    trained_texts.write(more, [trained_texts.marks(["oak bowl"])])
    texts = ["red mug", "oak bowl", "vase"]
    assert Encoder(str(tuned)).trained_on(texts).tolist() == [True, False, False]
    assert Encoder(str(tuned), adapter=str(more)).trained_on(texts).tolist() == [True, True, False]
