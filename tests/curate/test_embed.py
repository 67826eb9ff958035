import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from step_rows import bench, changes, conversation, problem, removed, rows

from gppo.config import EmbeddingConfig, KCenterConfig
from gppo.curate.embed import HashedTfidf, HubEncoder, embed
from gppo.types import UserError

TOPICS = {
    "trains": "train station rides miles hour speed arrives leaves town",
    "circles": "circle radius area tangent chord inscribed angle degrees",
    "cards": "deck cards drawn probability hearts replacement shuffled dealt",
    "strings": "string substring characters palindrome reverse count letters prefix",
}


def question(topic: str, rng: random.Random) -> str:
    return " ".join(rng.choices(TOPICS[topic].split(), k=12))


def corpus(count: int) -> list[tuple[str, str]]:
    rng = random.Random(2)
    topics = [rng.choice(list(TOPICS)) for _ in range(count)]
    return [(topic, question(topic, rng)) for topic in topics]


def test_questions_of_one_topic_are_near_each_other(tmp_path):
    found = corpus(120)
    encoder = HashedTfidf(lambda: [text for _, text in found], 8, 0, tmp_path / "fit.npz")
    points_ND = encoder([text for _, text in found])
    assert points_ND.dtype == np.float32
    assert np.linalg.norm(points_ND, axis=1) == pytest.approx(1)
    alike_NN = points_ND @ points_ND.T
    same_NN = np.array([[a == b for b, _ in found] for a, _ in found])
    assert alike_NN[same_NN].min() > alike_NN[~same_NN].max() + 0.1
    case = encoder(["TRAIN  station, rides!", "train station rides", "", "zebra quark"])
    assert (case[0] == case[1]).all()
    assert (case[2:] == 0).all()  # nothing to go by


def test_weights_by_hand(tmp_path):
    """Three texts and all of their dimensions: inner products are the cosines of log counts times idf."""
    texts = ["a a b", "a c", "b b b c"]
    points_ND = HashedTfidf(lambda: [*texts, "a b", "a b"], 3, 0, tmp_path / "fit.npz")(texts)
    # Of five texts four hold "a", four "b" and two "c"; one more that holds all is thought of.
    idf = {"a": np.log(6 / 5) + 1, "b": np.log(6 / 5) + 1, "c": np.log(6 / 3) + 1}
    rows_ = [
        [(1 + np.log(2)) * idf["a"], idf["b"], 0],
        [idf["a"], 0, idf["c"]],
        [0, (1 + np.log(3)) * idf["b"], idf["c"]],
    ]
    wide = np.array(rows_) / np.linalg.norm(rows_, axis=1, keepdims=True)
    assert points_ND @ points_ND.T == pytest.approx(wide @ wide.T, abs=1e-5)


def test_a_second_start_has_the_same_axes_and_reads_no_sample(tmp_path):
    texts = [text for _, text in corpus(50)]
    first = HashedTfidf(lambda: texts, 8, 0, tmp_path / "fit.npz")(texts)

    def unread():
        raise AssertionError("it was fitted before")

    assert (HashedTfidf(unread, 8, 0, tmp_path / "fit.npz")(texts) == first).all()


def test_a_sample_smaller_than_the_dimensions(tmp_path):
    points_ND = HashedTfidf(lambda: ["a b", "c d"], 8, 0, tmp_path / "fit.npz")(["a b", "c"])
    assert points_ND.shape == (2, 8)
    assert (points_ND[:, 1:] == 0).all()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from gppo.curate.embed import embed

class Count:
    dimensions = 2
    calls = 0
    def __call__(self, texts):
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.array([[len(text), hash(text) % 7] for text in texts], dtype=np.float32)

embed((str(i) * (i % 5 + 1) for i in range(5000)), 5000, Count(), Path(sys.argv[1]))
"""


def test_killed_it_goes_on_after_the_last_whole_batch(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path]
    assert subprocess.run(command, check=False, env={"PYTHONHASHSEED": "0"}).returncode == -9
    read: list[str] = []

    class Lengths:
        dimensions = 2

        def __call__(self, texts):
            read.extend(texts)
            return np.array([[len(text), -1] for text in texts], dtype=np.float32)

    texts = [str(i) * (i % 5 + 1) for i in range(5000)]
    points_ND = embed(texts, 5000, Lengths(), tmp_path)
    assert read == texts[2048:]
    assert points_ND[:, 0].tolist() == [len(text) for text in texts]
    assert (points_ND[:2048, 1] >= 0).all()  # from the first start
    assert (points_ND[2048:, 1] == -1).all()


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """A BERT of random weights with a tokenizer of its own: what an encoder's folder on the hub holds."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TOPICS.values() for word in text.split()})]
    raw = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tmp_path_factory.mktemp("bert")
    BertModel(BertConfig(vocab_size=len(names), max_position_embeddings=32, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_an_encoder_pools_what_one_text_alone_gives(tiny_bert, pooling):
    from transformers import AutoModel, AutoTokenizer

    encoder = HubEncoder(EmbeddingConfig(encoder=str(tiny_bert), pooling=pooling, batch_size=3, max_tokens=8), "cpu")
    texts = ["train", "circle radius area tangent chord", "deck", "train station", "train " * 20]
    points_ND = encoder(texts)
    model, tokenizer = AutoModel.from_pretrained(tiny_bert).eval(), AutoTokenizer.from_pretrained(tiny_bert)
    for text, point in zip(texts, points_ND, strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=8)
        with torch.no_grad():
            states_TH = model(**tokens).last_hidden_state[0]
        pooled = {"mean": states_TH.mean(dim=0), "cls": states_TH[0], "last": states_TH[-1]}[pooling]
        assert point == pytest.approx((pooled / pooled.norm()).numpy(), abs=1e-5)


def test_no_encoder_there(tmp_path):
    with pytest.raises(UserError, match=r"embedding\.encoder: nothing could be loaded"):
        HubEncoder(EmbeddingConfig(encoder=str(tmp_path)), "cpu")


def test_a_budget_covers_every_topic(tmp_path):
    found = corpus(60)
    records = [conversation(str(i), text, "<think>x</think>1") for i, (_, text) in enumerate(found)]
    config = KCenterConfig(step="k_center", budget=4, embedding={"dimensions": 8})
    at = bench(tmp_path, "conversations")
    gone = removed(changes(config, rows(records), at))
    stay = {topic for i, (topic, _) in enumerate(found) if str(i) not in gone}
    assert len(gone) == 56
    assert stay == set(TOPICS)
    assert at.notes[0].startswith("each of the others is within 0.")
    assert changes(KCenterConfig(step="k_center", budget=60), rows(records), at) == []


def test_with_an_encoder_copies_are_the_first_to_go(tmp_path, tiny_bert):
    texts = ["train station", "circle radius", "train station", "deck cards", "circle radius"]
    records = [problem(str(i), text) for i, text in enumerate(texts)]
    config = KCenterConfig(step="k_center", budget=3, embedding={"encoder": str(tiny_bert)})
    assert set(removed(changes(config, rows(records), bench(tmp_path)))) == {"2", "4"}
