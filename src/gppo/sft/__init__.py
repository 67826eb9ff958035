"""Supervised fine-tuning on reasoning traces."""

from gppo.sft.data import Sample, encode_samples
from gppo.sft.loop import train_sft

__all__ = ["Sample", "encode_samples", "train_sft"]
