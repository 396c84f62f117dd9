"""Which base model an adapter was trained on, told by the hash of its weights.

Weights of another model may have the same shapes, and an adapter put onto them changes vectors into
noise without a word. The name of a base says little: folders are renamed, hubs are mirrored.
"""

import hashlib
from pathlib import Path

from encoders.errors import AdapterError
from encoders.fingerprint import file_sha256, model_files

__all__ = ["FILE", "check", "write"]

FILE = "base_weights.sha256"

_WEIGHTS = {".safetensors", ".bin"}


def write(adapter: Path, model: Path) -> None:
    """Note in an adapter's folder that the model in another was its base."""
    (adapter / FILE).write_text(f"{_sha256(model)}\n", "ascii")


def check(adapter: Path, model: Path) -> None:
    """Pass where the adapter was trained on the model's weights, or does not say on which.

    Raises:
        AdapterError: it was trained on others, or what it says cannot be read.
    """
    path = adapter / FILE
    if not path.is_file():
        return
    wanted, found = path.read_text("utf-8", "replace").strip(), _sha256(model)
    if wanted != found:
        raise AdapterError(
            f"adapter {str(adapter)!r} was trained on weights with SHA-256 {wanted[:80]!r}; those "
            f"of {str(model)!r} have {found!r}. Give the model it was trained on "
            "(PRICEBANDIT_ENCODER, or --base of finetune), or delete "
            f"{FILE} if these are the same weights in another format"
        )


def _sha256(model: Path) -> str:
    """Of the file of weights, or of the hashes of several, in the order of their names."""
    files = model_files(model).items()
    hashes = [file_sha256(path) for name, path in files if Path(name).suffix in _WEIGHTS]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
