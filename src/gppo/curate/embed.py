"""Questions as points: hashed TF-IDF reduced by SVD, which needs no download, or an encoder of the hub."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gppo.config import EmbeddingConfig
from gppo.curate.normalise import words
from gppo.types import UserError
from gppo.types.files import atomic_file, full_disk_as_error, json_line

_FEATURES = 2**16
_TEXTS_AT_ONCE = 1024
_ITERATIONS = 2


class Encoder(Protocol):
    """Texts to points."""

    dimensions: int

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimensions], each of length 1 (0 where a text has nothing to go by)."""
        ...


def embed(
    texts: Iterable[str],
    count: int,
    encoder: Encoder,
    folder: Path,
    on_progress: Callable[[int], None] = lambda n: None,
) -> np.ndarray:
    """Embed a stream of texts into a memory-mapped file; go on where an earlier start was killed.

    Args:
        texts: the same in every start.
        count: how many there are.
        encoder: makes the points.
        folder: where ``embeddings.npy`` and how far it got are kept.
        on_progress: told how many more are done.

    Returns:
        float32 [count, D], memory-mapped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, told = folder / "embeddings.npy", folder / "embeddings.json"
    done = json.loads(told.read_bytes()) if told.is_file() else 0
    shape = (count, encoder.dimensions)
    with full_disk_as_error(path):
        points_ND: Any = np.lib.format.open_memmap(
            path, mode="r+" if done else "w+", dtype=np.float32, shape=None if done else shape
        )
    stream = iter(texts)
    on_progress(sum(1 for _ in islice(stream, done)))
    while batch := list(islice(stream, _TEXTS_AT_ONCE)):
        points_ND[done : done + len(batch)] = encoder(batch)
        points_ND.flush()
        done += len(batch)
        with atomic_file(told) as file:
            file.write(json_line(done))
        on_progress(len(batch))
    return np.asarray(points_ND)


class HashedTfidf:
    """Words hashed to 2**16 features, weighted by log counts and inverse document frequency, reduced by SVD.

    Both are fitted on a sample. The left-out words of a text cost it nothing but detail: a point is the text's
    projection on what the sample's texts have in common.

    Args:
        sample: texts to fit on.
        dimensions: D. A sample that spans fewer leaves the rest 0.
        seed: of the randomised SVD.
        kept: file for what was fitted; read where it is there, so that a second start has the same axes to the last
            bit.
    """

    def __init__(self, sample: Callable[[], Iterable[str]], dimensions: int, seed: int, kept: Path) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self.dimensions = dimensions
        self._hashed = HashingVectorizer(
            analyzer=words, n_features=_FEATURES, alternate_sign=False, norm=None, dtype=np.float32
        )
        if not kept.is_file():
            self._fit(list(sample()), seed, kept)
        with np.load(kept) as fitted:
            self._idf_F, self._axes_FD = fitted["idf_F"], fitted["axes_FD"]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """See ``Encoder``."""
        return _of_length_one(self._weighted(texts, self._idf_F) @ self._axes_FD)

    def _fit(self, sample: Sequence[str], seed: int, kept: Path) -> None:
        from sklearn.decomposition import TruncatedSVD

        counts = self._hashed.transform(sample)
        documents_F = np.bincount(counts.indices, minlength=_FEATURES)
        # Smoothed as if one more document held every word, so that a word the sample lacks has a finite weight.
        idf_F = (np.log((1 + len(sample)) / (1 + documents_F)) + 1).astype(np.float32)
        rank = min(self.dimensions, len(sample) - 1)
        axes_FD = np.zeros((_FEATURES, self.dimensions), dtype=np.float32)
        if rank > 0:
            svd = TruncatedSVD(rank, n_iter=_ITERATIONS, random_state=seed)
            axes_FD[:, :rank] = svd.fit(self._weighted(sample, idf_F)).components_.T
        with atomic_file(kept) as file:
            np.savez(file, idf_F=idf_F, axes_FD=axes_FD)

    def _weighted(self, texts: Sequence[str], idf_F: np.ndarray) -> Any:
        """tf-idf, sparse [texts, features], rows of length 1."""
        from sklearn.preprocessing import normalize

        found = self._hashed.transform(texts)
        found.data = (1 + np.log(found.data)) * idf_F[found.indices]
        return normalize(found, copy=False)


class HubEncoder:
    """An encoder that transformers can load, its token vectors pooled.

    Args:
        config: which, how it pools, how much it reads.
        device: where it runs.

    Raises:
        UserError: nothing can be loaded.
    """

    def __init__(self, config: EmbeddingConfig, device: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        name = str(config.encoder)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name)
            self._model = AutoModel.from_pretrained(name).to(device).eval()
        except Exception as error:  # whatever a broken file makes the libraries raise
            raise UserError(
                f"embedding.encoder: nothing could be loaded from '{name}' ({str(error).splitlines()[0]}); give the "
                "folder of an encoder with its tokenizer, or leave it out for TF-IDF"
            ) from error
        self._tokenizer.padding_side = "right"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._config, self._device = config, device
        self.dimensions = int(self._model.config.hidden_size)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """See ``Encoder``. Texts of like length are read together, which spares padding."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        points_ND = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(order), self._config.batch_size):
            part = order[start : start + self._config.batch_size]
            points_ND[part] = self._batch([texts[i] for i in part])
        return _of_length_one(points_ND)

    def _batch(self, texts: list[str]) -> np.ndarray:
        import torch

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._config.max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states_BTH = self._model(**tokens).last_hidden_state.float()
        mask_BT = tokens["attention_mask"]
        match self._config.pooling:
            case "cls":
                pooled_BH = states_BTH[:, 0]
            case "last":
                pooled_BH = states_BTH[torch.arange(len(texts)), mask_BT.sum(dim=1) - 1]
            case "mean":
                mask_BT1 = mask_BT[..., None].to(states_BTH.dtype)
                pooled_BH = (states_BTH * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1)
        return np.asarray(pooled_BH.cpu().numpy())


def _of_length_one(points_ND: np.ndarray) -> np.ndarray:
    lengths_N1 = np.linalg.norm(points_ND, axis=1, keepdims=True)
    return np.asarray(points_ND / np.where(lengths_N1 > 0, lengths_N1, 1), dtype=np.float32)
