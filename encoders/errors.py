"""Everything the encoders room raises on purpose, as one tree."""

__all__ = [
    "AdapterError",
    "CacheWriteError",
    "EncoderError",
    "ModelNotFoundError",
    "WeightsMismatchError",
]


class EncoderError(Exception):
    """Root of the tree: catch this to catch every deliberate error of the room."""


class ModelNotFoundError(EncoderError):
    """The model is neither a folder, nor in the hub's cache, nor downloadable, nor packaged."""


class WeightsMismatchError(EncoderError):
    """Weights on disk are not the ones that were promised, or changed after they were hashed."""


class AdapterError(EncoderError):
    """The adapter folder is incomplete, or does not fit the model."""


class CacheWriteError(EncoderError):
    """The cache's directory cannot be written: wrong path, no permission, disk full."""
