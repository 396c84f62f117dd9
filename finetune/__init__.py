"""What text says of price, measured on products never seen: before tuning an encoder and after."""

from finetune.probes import Probe, embedding_probes, grouped_folds, lexical_probe

__all__ = ["Probe", "embedding_probes", "grouped_folds", "lexical_probe"]
