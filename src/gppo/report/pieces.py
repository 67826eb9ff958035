"""Token ids as text, one piece a token, from the run's own tokenizer.json: needs neither torch nor transformers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gppo.report.visible import visible

CONTINUED = "⋯"
"""What a token shows whose bytes end a character that an earlier token began, and that stands there in full."""


class Pieces:
    """Texts of tokens.

    Args:
        pieces: the bytes of each token, by id. An id that is not there is shown by its number.
    """

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = pieces
        self._whole: dict[int, str | None] = {}

    def texts(self, ids: Iterable[int]) -> list[str]:
        """One text a token; joined, they are the response.

        Where a character is cut into several tokens, the first one shows it and the others show ``CONTINUED``. Bytes
        that are no UTF-8 are shown as ‹FF›, and characters that cannot be seen or that turn the direction of text as
        ‹U+202E›.
        """
        texts: list[str] = []
        parts: list[bytes] = []  # of an unfinished character
        for token in map(int, ids):
            whole = self._text(token)
            if whole is not None:
                texts += _broken(parts)
                parts = []
                texts.append(whole)
                continue
            parts.append(self._pieces[token])
            together = b"".join(parts)
            if (text := _decoded(together)) is not None:
                texts += [visible(text), *[CONTINUED] * (len(parts) - 1)]
                parts = []
            elif not _unfinished(together):
                texts += _broken(parts)
                parts = []
        return texts + _broken(parts)

    def _text(self, token: int) -> str | None:
        """The token's text by itself, None where its bytes are not whole characters."""
        if token not in self._whole:
            raw = self._pieces.get(token)
            text = f"‹{token}›" if raw is None else _decoded(raw)
            self._whole[token] = None if text is None else visible(text)
        return self._whole[token]


def pieces_of(tokenizer_json: str) -> Pieces:
    """Reads the text of a tokenizer.json: byte-level BPE (GPT, Qwen, Llama 3), and vocabularies with ▁ for a space."""
    content = json.loads(tokenizer_json)
    vocabulary = content["model"].get("vocab") or {}
    if isinstance(vocabulary, list):  # Unigram: [piece, score] in the order of ids
        vocabulary = {entry[0]: i for i, entry in enumerate(vocabulary)}
    as_bytes = _from_byte_level if "ByteLevel" in _kinds(content.get("decoder")) else _from_plain
    pieces = {i: as_bytes(piece) for piece, i in vocabulary.items()}
    pieces |= {token["id"]: token["content"].encode() for token in content.get("added_tokens") or []}
    return Pieces(pieces)


def find_pieces(checkpoints: Path, model: Mapping[str, Any]) -> Pieces | None:
    """The pieces of the tokenizer that a run used; None where it is not to be found.

    Args:
        checkpoints: the run's checkpoints, which hold the tokenizer.
        model: the recipe's ``model``, for a run without a checkpoint.
    """
    saved = (path for stage in ("rl", "sft") for path in sorted(checkpoints.glob(f"{stage}/step-*"), reverse=True))
    named = (Path(str(model[key])).expanduser() for key in ("tokenizer", "path") if model.get(key))
    for folder in (*saved, *named):
        if (path := folder / "tokenizer.json").is_file():
            return pieces_of(path.read_text(encoding="utf-8"))
    if model.get("tokenizer") == "bytes" or (model.get("tiny") and not model.get("tokenizer")):
        return _one_a_byte()
    return None


def _one_a_byte() -> Pieces:
    from gppo.policy.tiny import byte_tokenizer

    return pieces_of(byte_tokenizer().backend_tokenizer.to_str())


def _kinds(decoder: Any) -> set[str]:
    if not isinstance(decoder, dict):
        return set()
    return {str(decoder.get("type"))}.union(*(_kinds(inner) for inner in decoder.get("decoders") or []))


@lru_cache(1)
def _byte_of() -> dict[str, int]:
    """Byte-level vocabularies write each byte as one visible character: itself where it is one, else from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = sorted(set(range(256)) - set(visible))
    return {chr(byte): byte for byte in visible} | {chr(0x100 + n): byte for n, byte in enumerate(hidden)}


def _from_byte_level(piece: str) -> bytes:
    table = _byte_of()
    return bytes(table[c] for c in piece) if all(c in table for c in piece) else piece.encode()


def _from_plain(piece: str) -> bytes:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode("utf-8", "replace")


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _unfinished(raw: bytes) -> bool:
    """Whether more bytes may make whole characters of these."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _broken(parts: Sequence[bytes]) -> list[str]:
    return [visible(raw.decode("utf-8", "surrogateescape")) for raw in parts]
