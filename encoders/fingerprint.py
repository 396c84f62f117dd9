"""What a model is, read from its files and without torch: its fingerprint and its dimension.

The fingerprint is SHA-256 over the names and SHA-256s of every file that can change a vector:
weights, config, tokenizer, pooling, normalisation, adapter. The rule is a list of what is *left
out* (documentation, other runtimes' exports), so that a file nobody thought of makes a new
fingerprint, which costs an encoding, and never a stale vector, which costs a wrong price.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from encoders.errors import AdapterError

__all__ = [
    "adapter_files",
    "file_sha256",
    "fingerprint_of",
    "model_dimension",
    "model_files",
    "signature_of",
]

# Raised when the meaning of a vector changes in our code (normalisation, treatment of "").
_ENCODING = "pricebandit-encoding-1"
_NOT_OF_THE_MODEL = {"data_config.json", "train_script.py", "modelcard.json"}
_OTHER_SUFFIXES = {".md", ".onnx", ".h5", ".ot", ".msgpack", ".png", ".tflite"}
_OTHER_FOLDERS = {"onnx", "openvino", "coreml"}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def model_files(folder: Path) -> dict[str, Path]:
    """The files of ``folder`` that can change a vector, by POSIX name relative to it, sorted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        other = inside.name in _NOT_OF_THE_MODEL or inside.suffix.lower() in _OTHER_SUFFIXES
        unused = path.suffix == ".bin" and path.with_name("model.safetensors").exists()
        if hidden or other or unused or _OTHER_FOLDERS & set(inside.parts) or not path.is_file():
            continue
        found[inside.as_posix()] = path
    return found


def adapter_files(folder: Path) -> dict[str, Path]:
    """The two files that make a PEFT adapter.

    Raises:
        AdapterError: one of them is missing.
    """
    found = {name: folder / name for name in _ADAPTER_FILES}
    missing = [name for name, path in found.items() if not path.is_file()]
    if missing:
        raise AdapterError(
            f"adapter {str(folder)!r} lacks {', '.join(missing)}; give the folder that "
            "PeftModel.save_pretrained wrote (adapter_config.json, adapter_model.safetensors)"
        )
    return found


def fingerprint_of(model: dict[str, Path], adapter: dict[str, Path]) -> str:
    """SHA-256 (64 hex digits) of a model's files and its adapter's, wherever they lie."""
    digest = hashlib.sha256(_ENCODING.encode())
    for part, files in (("model", model), ("adapter", adapter)):
        for name, path in files.items():
            digest.update(f"\n{part}\0{name}\0{file_sha256(path)}".encode())
    return digest.hexdigest()


def signature_of(*files: dict[str, Path]) -> tuple[tuple[int, ...], ...]:
    """Sizes and times of files: equal before and after means that they were not touched between.

    Raises:
        OSError: a file is gone.
    """
    stats = [path.stat() for group in files for path in group.values()]
    return tuple((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in stats)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex; the same untouched file is read once per process."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=1024)
def _sha256(path: Path, *_stat: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_dimension(folder: Path) -> int | None:
    """Length d of the vectors, from config files alone; None where only loading would tell."""
    try:
        return _dimension(folder)
    except (ValueError, KeyError, TypeError):  # no JSON, or another: loading says what is wrong
        return None


def _dimension(folder: Path) -> int | None:
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
    except FileNotFoundError:
        # A bare transformer: sentence-transformers puts mean pooling on top of it.
        modules = [{"path": "", "type": "Transformer"}]
    for module in reversed(modules):
        kind = str(module["type"]).rsplit(".", 1)[-1]
        if kind in ("Normalize", "Dropout", "LayerNorm"):
            continue
        try:
            config = json.loads((folder / str(module["path"]) / "config.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        return _module_dimension(kind, config)
    return None


def _module_dimension(kind: str, config: dict[str, object]) -> int | None:
    if kind == "Dense":
        size = config.get("out_features")
    elif kind == "Transformer":
        size = config.get("hidden_size")
    elif kind == "Pooling":
        size = config.get("embedding_dimension", config.get("word_embedding_dimension"))
        named = config.get("pooling_mode")
        flags = [v is True for k, v in config.items() if k.startswith("pooling_mode_")]
        modes = len(named) if isinstance(named, list) else 1 if named else sum(flags)
        # Several poolings are concatenated, one vector after the other.
        size = size * modes if isinstance(size, int) else None
    else:
        return None
    return size if isinstance(size, int) and size > 0 else None
