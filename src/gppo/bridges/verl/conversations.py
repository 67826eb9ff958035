"""SFT data for verl: the same tokens and the same loss mask as our own SFT makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gppo.policy import encode_conversation
from gppo.records import read_conversations


class Conversations(torch.utils.data.Dataset):
    """``data.custom_cls``: one conversation a row, tokenised when it is asked for; none is padded or cut."""

    def __init__(
        self,
        parquet_files: str | Sequence[str],
        tokenizer: Any,
        config: Any,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        found = [item for file in files for item in read_conversations(Path(file))]
        self.conversations = found[:max_samples] if max_samples > 0 else found
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.conversations)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids_L, mask_L = encode_conversation(self.tokenizer, self.conversations[index].messages)
        return {
            "input_ids": torch.from_numpy(ids_L),
            "position_ids": torch.arange(len(ids_L)),
            "loss_mask": torch.from_numpy(mask_L).long(),
        }
