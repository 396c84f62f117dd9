"""The transformer: texts in, unit vectors out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import base_weights, trained_texts
from encoders.adapter import adapter_folder, merge_adapter
from encoders.errors import EncoderError, WeightsMismatchError
from encoders.fingerprint import (
    adapter_files,
    fingerprint_of,
    model_dimension,
    model_files,
    signature_of,
)
from encoders.source import DEFAULT_MODEL, model_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder", "load_model"]

# Measured: a CPU is fastest while a batch stays in its caches, an accelerator when it is full.
_CPU_ROWS, _CPU_TOKENS = 64, 1_536
_ACCELERATOR_ROWS, _ACCELERATOR_TOKENS = 512, 65_536
_UNLIKE = ("mug", "7", "чай", "茶", "컵")  # words of which any vocabulary has a piece
_BYTES_PER_TOKEN = 4  # UTF-8 bytes a word piece covers: about 4.5 in English, 3 in Chinese


class Encoder:
    """A sentence-transformers model, with or without a PEFT adapter.

    Constructing one finds and hashes the files but loads nothing: ``dim`` and ``fingerprint``
    come from the files, torch is imported by the first :meth:`encode`. Safe to share between
    threads; batches of concurrent calls take turns.

    Args:
        model: a hub name or a local folder; see :mod:`encoders.source` for the order of search.
        adapter: a folder with ``adapter_config.json`` and ``adapter_model.safetensors``, merged
            into the transformer when it is loaded.
        device: a torch device such as ``"cpu"`` or ``"cuda:0"``; the best present if None.
        batch_size: the most texts in one forward pass; 64 on a CPU and 512 elsewhere if None.
            Long texts make smaller batches, within a budget of tokens.

    Attributes:
        folder: where the model's files lie.
        dim: length d of the vectors.
        fingerprint: 64 hex digits; equal for the same files in two folders, different as soon as
            a file that can change a vector does.

    Raises:
        ModelNotFoundError: the model is nowhere; the message says what to do.
        WeightsMismatchError: the packaged weights are not the pinned ones.
        AdapterError: the adapter's folder is incomplete, a file in it cannot be read, or it was
            trained on another model.
        EncoderError: the model had to be loaded to tell ``dim``, and cannot be.
        ValueError: ``batch_size`` below 1.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        adapter: str | None = None,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more, or None")
        self.folder = model_folder(model)
        self._adapter = None if adapter is None else adapter_folder(adapter)
        self._device = device
        self._batch_size = batch_size
        self._files = (
            model_files(self.folder),
            {} if self._adapter is None else adapter_files(self._adapter),
        )
        if self._adapter is not None:
            base_weights.check(self._adapter, self.folder)
        self._signature = signature_of(*self._files)
        self.fingerprint: str = fingerprint_of(*self._files)
        fitted = [self.folder, *([self._adapter] if self._adapter else [])]
        self._trained = np.unique(np.concatenate([trained_texts.read(part) for part in fitted]))
        self._lock = threading.Lock()
        self._loaded: SentenceTransformer | None = None
        dim = model_dimension(self.folder)
        # Exotic modules keep their size to themselves: only then is the model loaded here.
        self.dim: int = dim or int(self._model().get_embedding_dimension() or 0)

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of n texts: float32 (n, d), rows of length 1, in the order of ``texts``.

        Identical texts are encoded once. A text's vector does not depend on the texts beside it
        (to 1e-5). ``""`` has a vector like any other text. ``progress(done, total)`` counts
        distinct texts and is called after each batch.

        Raises:
            TypeError: ``texts`` is one string, or an element is not a string.
            WeightsMismatchError: the files changed between construction and loading.
            AdapterError: the adapter does not fit the model.
            EncoderError: the model cannot be loaded, or gave a vector that is not finite.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a sequence of strings")
        place: dict[str, int] = {}
        row = np.empty(len(texts), np.int64)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{i}] is {type(text).__name__}, not str")
            row[i] = place.setdefault(text, len(place))
        if not place:
            return np.empty((0, self.dim), np.float32)
        vectors = self._encode_distinct(list(place), progress)
        return vectors if len(place) == len(texts) else vectors[row]

    def trained_on(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the encoder was fitted to each of n canonical texts, by its title, bool (n,)."""
        if not len(self._trained):
            return np.zeros(len(texts), np.bool_)
        return np.isin(trained_texts.marks(texts), self._trained)

    def _encode_distinct(
        self, texts: list[str], progress: Callable[[int, int], None] | None
    ) -> NDArray[np.float32]:
        raw = [text.encode("utf-8", "replace") for text in texts]
        sizes = np.fromiter((len(r) for r in raw), np.int64, len(raw))
        vectors = np.empty((len(texts), self.dim), np.float32)
        done = 0
        with self._lock:
            model = self._model()
        for batch in self._batches(sizes, model):
            # One lock per batch, not per call: a request need not wait for a whole catalogue.
            with self._lock:
                rows = model.encode(
                    [raw[i].decode("utf-8") for i in batch],
                    batch_size=len(batch),
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
            vectors[batch] = _unit(np.asarray(rows, np.float32))
            done += len(batch)
            if progress is not None:
                progress(done, len(texts))
        return vectors

    def _batches(self, sizes: NDArray[np.int64], model: Any) -> Iterator[NDArray[np.int64]]:
        """Indices of texts of like length, longest first: little padding, bounded work."""
        cpu = model.device.type == "cpu"
        most = self._batch_size or (_CPU_ROWS if cpu else _ACCELERATOR_ROWS)
        budget = _CPU_TOKENS if cpu else _ACCELERATOR_TOKENS
        longest = model.max_seq_length or int(sizes.max())
        tokens = np.minimum(sizes // _BYTES_PER_TOKEN + 2, longest)
        order = np.argsort(-sizes, kind="stable")
        start = 0
        while start < len(order):
            rows = max(1, min(most, budget // int(tokens[order[start]])))
            yield order[start : start + rows]
            start += rows

    def _model(self) -> "SentenceTransformer":
        """The loaded model; the caller holds the lock, or is the constructor."""
        if self._loaded is None:
            self._check_files()
            loaded = _load(self.folder, self._adapter, self._device)
            self._check_files()  # nor while they were read
            self._loaded = loaded
        return self._loaded

    def _check_files(self) -> None:
        try:
            touched = signature_of(*self._files) != self._signature
        except OSError:  # gone, or out of reach
            touched = True
        if touched:
            raise WeightsMismatchError(
                f"files of {str(self.folder)!r} or its adapter changed after they were hashed; "
                "construct the Encoder again so that its fingerprint fits them"
            )


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a zero row stays zero, having no direction."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise EncoderError(
            "the model gave a vector that is not finite; its weights or its adapter are damaged"
        )
    return np.asarray(rows / np.where(norms > 0, norms, 1), np.float32)


def load_model(folder: Path, device: str | None) -> "SentenceTransformer":
    """The model whose files lie in a folder, as it is.

    Raises:
        EncoderError: the files do not make a model, not a whole one, or one that cannot tell words
            apart.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(str(folder), device=device, local_files_only=True)
        missing = _missing_weights(getattr(model[0], "auto_model", None))
    except Exception as error:  # whatever parsers of weights and configurations raise
        raise EncoderError(
            f"model {str(folder)!r} cannot be loaded: {type(error).__name__}: {error}. Give a "
            "whole copy of it, and a device that is there"
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if missing:
        raise EncoderError(
            f"model {str(folder)!r} lacks weights for {missing[0]} and {len(missing) - 1} more "
            "that its config.json names: they would be drawn at random. Give a whole copy of it"
        )
    # without its vocabulary a tokenizer is made all the same, and all texts have one vector
    read = [model.preprocess([word]).get("input_ids") for word in _UNLIKE]
    if all(tokens is not None and tokens.tolist() == read[0].tolist() for tokens in read):
        raise EncoderError(
            f"model {str(folder)!r} reads {', '.join(_UNLIKE)} as one and the same: its tokenizer "
            "has no vocabulary. Give a whole copy of it, with tokenizer.json or vocab.txt"
        )
    return model


def _missing_weights(transformer: Any) -> list[str]:
    """Names of what the files of a loaded transformer hold no weights for, but for the pooler, of
    which no vector is made: who loads it fills them with noise, another at each start.
    """
    if transformer is None:
        return []
    _, found = type(transformer).from_pretrained(
        transformer.name_or_path,
        config=transformer.config,
        local_files_only=True,
        output_loading_info=True,
    )
    return sorted(name for name in found["missing_keys"] if "pooler" not in name)


def _load(folder: Path, adapter: Path | None, device: str | None) -> "SentenceTransformer":
    model = load_model(folder, device)
    if adapter is not None:
        merge_adapter(model, adapter)
    return model.eval()
