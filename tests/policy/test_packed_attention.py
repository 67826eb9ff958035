"""Packs against the same rows one by one: log-probabilities and gradients, and which models are padded instead."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import gradients, tiny_model, tiny_policy, worst_relative
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache

from gppo.policy import Policy, within_memory
from gppo.policy import layout as layout_module
from gppo.policy import segments as segments_module
from gppo.policy.attention import PACKED, CannotPackError, packed_attention
from gppo.policy.layout import layout_of
from gppo.policy.memory import with_checkpointing
from gppo.policy.segments import VarlenPart
from gppo.policy.short import SHORT, ShortRows
from gppo.sizes import pack_responses

#: Lengths of the responses to each prompt.
GROUPS = {
    "ragged": ([3, 7], [[5, 1, 30, 6], [4, 4]]),
    "equal": ([6, 6, 6], [[8, 8], [8, 8], [8, 8]]),
    "one response each": ([5, 9], [[7], [12]]),
    "one-token responses": ([4, 2], [[1, 1, 1], [1, 9]]),
    "long beside short": ([20, 1], [[50, 2, 2], [3, 40]]),
}


@pytest.fixture(params=["short rows", "flash kernel"])
def either_way(request, monkeypatch):
    """Short packs are computed by plain products; with no row short enough for them, by the kernel."""
    if request.param == "flash kernel":
        monkeypatch.setattr(layout_module, "SHORT", 0)
    return request.param


def rows_of(name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(1)
    prompts, responses = [], []
    for length, group in zip(*GROUPS[name], strict=True):
        prompt = rng.integers(0, 256, length)
        prompts += [prompt] * len(group)
        responses += [rng.integers(0, 256, size) for size in group]
    return prompts, responses


def naive(policy: Policy, prompts, responses) -> torch.Tensor:
    """By whole logits, one row at a time, with transformers' sdpa."""
    before = policy.model.config._attn_implementation
    policy.model.set_attn_implementation("sdpa")
    found = []
    for prompt, response in zip(prompts, responses, strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, response]))
        logprobs_TV = policy.model(input_ids=ids[None], use_cache=False).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        found.append(logprobs_TV.gather(1, ids[len(prompt) :, None]).squeeze(1))
    policy.model.set_attn_implementation(before)
    return torch.cat(found)


def both(policy: Policy, prompts, responses, drop=()):
    """(logprobs, gradients), naive and packed; rows in ``drop`` get no coefficient, and only the naive way has them."""
    kept = [row for row in range(len(prompts)) if row not in drop]
    sizes = [len(response) for response in responses]
    c_N = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0), dtype=policy.model.dtype)
    kept_N = torch.from_numpy(np.concatenate([np.full(size, row in kept) for row, size in enumerate(sizes)]))
    expected_N = naive(policy, prompts, responses)
    (c_N * kept_N * expected_N).sum().backward()
    expected = expected_N.detach()[kept_N], gradients(policy)
    tokens = policy.tokens([prompts[row] for row in kept], [responses[row] for row in kept])
    assert tokens.layout is not None
    got_N, _ = policy.logprobs_N(tokens)
    (c_N[kept_N] * got_N).sum().backward()
    return expected, (got_N.detach(), gradients(policy))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", ["Qwen3", "Qwen2", "Llama"])
@pytest.mark.parametrize("name", GROUPS)
def test_a_pack_gives_its_rows_exactly(name, family, tied, either_way):
    policy = tiny_policy(family, tie_word_embeddings=tied, dtype=torch.float64)
    expected, got = both(policy, *rows_of(name))
    assert float((got[0] - expected[0]).abs().max()) < 1e-10
    assert worst_relative(got[1], expected[1]) < 1e-10


@pytest.mark.parametrize("heads", [(4, 4), (4, 1)], ids=["all heads have keys", "one key for all"])
def test_other_numbers_of_key_heads(heads, either_way):
    options = {"num_attention_heads": heads[0], "num_key_value_heads": heads[1]}
    expected, got = both(tiny_policy("Llama", dtype=torch.float64, **options), *rows_of("ragged"))
    assert worst_relative(got[1], expected[1]) < 1e-10


@pytest.mark.parametrize("name", GROUPS)
def test_float32_loses_no_more_than_one_row_at_a_time(name, either_way):
    policy = tiny_policy()
    naive32, got = both(policy, *rows_of(name))
    policy.model.double()
    exact = both(policy, *rows_of(name))[0]
    assert float((got[0] - exact[0]).abs().max()) < 1e-5
    own_loss = worst_relative(naive32[1], exact[1])
    assert worst_relative(got[1], exact[1]) < 1e-6 + 2 * own_loss


def test_dropped_rows_are_not_there():
    policy = tiny_policy(dtype=torch.float64)
    for drop in [(1,), (0, 2), (0, 1, 2, 3), (4, 5)]:
        expected, got = both(policy, *rows_of("ragged"), drop=drop)
        assert worst_relative(got[1], expected[1]) < 1e-10


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.lists(st.integers(1, 25), min_size=1, max_size=5)), min_size=1, max_size=5
    )
)
def test_any_layout_attends_as_a_dense_mask_would(groups):
    """The attention alone, forward and backward, against the mask that is never made."""
    prompts = [np.full(length, number) for number, (length, sizes) in enumerate(groups) for _ in sizes]
    pack = pack_responses(prompts, [np.zeros(size, dtype=np.int64) for _, sizes in groups for size in sizes])
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    trunks = len(pack.trunk_lengths)
    segment_L = np.repeat(np.arange(len(lengths)), lengths)
    trunk_L = np.concatenate([np.arange(trunks), np.repeat(np.arange(trunks), pack.branches_of)])[segment_L]
    sees_LL = (segment_L[:, None] == segment_L) | ((trunk_L[:, None] == segment_L) & (segment_L < trunks))
    sees_LL &= np.arange(len(segment_L))[:, None] >= np.arange(len(segment_L))
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 4, len(segment_L), 8), (1, 2, len(segment_L), 8), (1, 2, len(segment_L), 8)]
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes)
    keys = (x.repeat_interleave(2, 1) for x in (k, v))
    dense = scaled_dot_product_attention(q, *keys, attn_mask=torch.from_numpy(sees_LL), scale=0.7).transpose(1, 2)
    grad = torch.randn(dense.shape, generator=generator, dtype=torch.float64)
    expected = torch.autograd.grad(dense, (q, k, v), grad)
    for layout in (layout_of(pack, torch.device("cpu")), layout_module._grids(pack, torch.device("cpu"))):
        out, _ = packed_attention(torch.nn.Module(), q, k, v, None, scaling=0.7, packing=layout)
        torch.testing.assert_close(out, dense, rtol=1e-10, atol=1e-12)
        for got, wanted in zip(torch.autograd.grad(out, (q, k, v), grad), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_scores_far_above_a_padded_querys_own_make_no_nan():
    # A short segment in a grid with a long one, and keys that grow: a padded query would overflow exp.
    pack = pack_responses([np.array([1]), np.array([2])], [np.zeros(31), np.zeros(25)])
    short, layout = layout_of(pack, torch.device("cpu")), layout_module._grids(pack, torch.device("cpu"))
    assert layout.own.grids[0].padding_RT is not None
    assert short.grids[0].padding_RT.any()
    q, k, v = (torch.randn(1, 2, len(pack.ids_L), 8).mul_(100).requires_grad_() for _ in range(3))
    for either in (short, layout):
        out, _ = packed_attention(torch.nn.Module(), q, k, v, None, packing=either)
        out.sum().backward()
        assert all(x.grad.isfinite().all() for x in (q, k, v))


@pytest.mark.parametrize("length", [SHORT, SHORT + 1])
def test_rows_of_up_to_so_many_keys_are_short(length):
    pack = pack_responses([np.zeros(20)] * 2, [np.zeros(length - 19), np.zeros(3)])
    assert isinstance(layout_of(pack, torch.device("cpu")), ShortRows) == (length == SHORT)


def test_short_rows_of_half_precision_are_computed_in_single():
    pack = pack_responses([np.array([1, 2])] * 2, [np.zeros(9), np.zeros(20)])
    layout = layout_of(pack, torch.device("cpu"))
    wide = [torch.randn(1, 2, len(pack.ids_L), 8).bfloat16().float().requires_grad_() for _ in range(3)]
    low = [x.detach().bfloat16().requires_grad_() for x in wide]
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = packed_attention(torch.nn.Module(), *low, None, packing=layout)
    expected, _ = packed_attention(torch.nn.Module(), *wide, None, packing=layout)
    assert torch.equal(out, expected.bfloat16())
    grads = (torch.autograd.grad(x.float().sum(), of) for x, of in ((out, low), (expected, wide)))
    for got, wanted in zip(*grads, strict=True):
        assert torch.equal(got, wanted.bfloat16())


def test_packed_twice_is_bit_identical(either_way):
    policy = tiny_policy()
    first, second = (both(policy, *rows_of("long beside short"))[1] for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][key], second[1][key]) for key in first[1])


def test_checkpointing_recomputes_the_packed_layers(either_way):
    policy = tiny_policy(dtype=torch.float64)
    policy.model.train()
    with_checkpointing(policy.model)
    expected, got = both(policy, *rows_of("ragged"))
    assert worst_relative(got[1], expected[1]) < 1e-10


def test_no_mask_is_made_and_other_forwards_are_transformers_own():
    model = tiny_model("Qwen3", dtype=torch.float64)
    ids = torch.randint(256, (2, 9))
    padding = torch.ones(2, 9).long()
    padding[0, :4] = 0
    before = model(input_ids=ids, attention_mask=padding, use_cache=False).logits
    policy = Policy(model, tiny_policy().tokenizer)
    assert model.config._attn_implementation == PACKED
    assert torch.equal(model(input_ids=ids, attention_mask=padding, use_cache=False).logits, before)
    cache = DynamicCache()
    model(input_ids=ids[1:, :5], past_key_values=cache, use_cache=True)
    torch.testing.assert_close(
        model(input_ids=ids[1:, 5:], past_key_values=cache, use_cache=True).logits, before[1:, 5:]
    )
    seen = []
    layer = model.model.layers[0]
    layer.register_forward_pre_hook(lambda _, __, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True)
    policy.logprobs_N(policy.tokens(*rows_of("ragged")))
    assert seen[0].numel() == 0


def test_a_saved_model_does_not_name_our_attention(tmp_path):
    policy = tiny_policy()
    policy.save(tmp_path)
    assert PACKED not in (tmp_path / "config.json").read_text()


class TestPaddedInstead:
    def test_a_window(self):
        options = {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 0}
        policy = tiny_policy("Qwen3", dtype=torch.float64, **options)
        assert "sliding_window" in policy.unpacked_reason
        assert policy.model.config._attn_implementation == "sdpa"
        prompts, responses = rows_of("ragged")
        tokens = policy.tokens(prompts, responses)
        assert tokens.layout is None
        expected_N = naive(policy, prompts, responses)
        torch.testing.assert_close(policy.logprobs_N(tokens)[0], expected_N, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("asked", [{"softcap": 30.0}, {"s_aux": torch.zeros(2)}, {"dropout": 0.1}])
    def test_what_a_layer_may_ask_for(self, asked):
        layout = layout_of(pack_responses([np.array([1])], [np.zeros(3)]), torch.device("cpu"))
        x = torch.randn(1, 2, 3, 8)
        with pytest.raises(CannotPackError, match="its attention"):
            packed_attention(torch.nn.Module(), x, x, x, None, packing=layout, **asked)

    def test_dropout(self):
        assert "dropout" in tiny_policy("Qwen3", attention_dropout=0.1).unpacked_reason

    def test_an_attention_that_was_chosen(self):
        model = tiny_model("Qwen3")
        model.set_attn_implementation("eager")
        assert "eager" in Policy(model, tiny_policy().tokenizer).unpacked_reason

    def test_layers_that_mix_tokens_by_themselves(self):
        model = tiny_model("Qwen3")

        def mix(_module, _args, out):
            return out + out.roll(1, dims=1)

        model.model.layers[0].mlp.register_forward_hook(mix)
        assert "mix tokens" in Policy(model, tiny_policy().tokenizer).unpacked_reason


@pytest.mark.parametrize("training", [True, False])
def test_looking_leaves_the_mode(training):
    model = tiny_model("Qwen3").train(training)
    assert Policy(model, tiny_policy().tokenizer).unpacked_reason is None
    assert model.training is training


class TestVarlen:
    """The GPU's calls, with kernels that read their bounds as the CUDA ones do."""

    @pytest.fixture(autouse=True)
    def _plain_kernels(self, monkeypatch):
        def pieces(bounds_q, bounds_k):
            ends = zip(bounds_q.tolist(), bounds_q.tolist()[1:], bounds_k.tolist(), bounds_k.tolist()[1:], strict=False)
            return [(slice(a, b), slice(c, d)) for a, b, c, d in ends]

        def heads(x):
            return x.transpose(0, 1)[None]

        def forward(q, k, v, bounds_q, bounds_k, max_q, max_k, dropout, causal, _debug, scale):
            out, lse = torch.empty_like(q), q.new_empty(q.shape[1], len(q))
            for at, keys in pieces(bounds_q, bounds_k):
                assert at.stop - at.start <= max_q
                assert keys.stop - keys.start <= max_k
                found = segments_module._cpu_forward(
                    heads(q[at]), heads(k[keys]), heads(v[keys]), dropout, causal, scale=scale
                )
                out[at], lse[:, at] = found[0][0].transpose(0, 1), found[1][0]
            return out, lse, None, None, None

        def backward(grad, q, k, v, out, lse, bounds_q, bounds_k, max_q, max_k, dropout, causal, *_state, scale):
            grads = [torch.empty_like(x) for x in (q, k, v)]
            for at, keys in pieces(bounds_q, bounds_k):
                ends = (at, keys, keys)
                found = segments_module._cpu_backward(
                    heads(grad[at]),
                    *(heads(x[end]) for x, end in zip((q, k, v), ends, strict=True)),
                    heads(out[at]),
                    lse[None, :, at],
                    dropout,
                    causal,
                    scale=scale,
                )
                for full, end, piece in zip(grads, ends, found, strict=True):
                    full[end] = piece[0].transpose(0, 1)
            return tuple(grads)

        monkeypatch.setattr(segments_module, "_cuda_forward", forward)
        monkeypatch.setattr(segments_module, "_cuda_backward", backward)

    @pytest.mark.parametrize("name", GROUPS)
    def test_equals_the_grids(self, monkeypatch, name):
        pack = pack_responses(*rows_of(name))
        generator = torch.Generator().manual_seed(0)
        shapes = [(1, 4, len(pack.ids_L), 8), (1, 2, len(pack.ids_L), 8), (1, 2, len(pack.ids_L), 8)]
        q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes)
        found = []
        for of in ("_grids", "_bounds"):
            layout = getattr(layout_module, of)(pack, torch.device("cpu"))
            assert isinstance(layout.own, VarlenPart) == (of == "_bounds")
            out, _ = packed_attention(torch.nn.Module(), q, k, v, None, packing=layout)
            found.append((out, *torch.autograd.grad((out**3).sum(), (q, k, v))))
        for got, wanted in zip(*found, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


class TestMemory:
    def fails_once(self, policy, fails):
        prompts, responses = rows_of("ragged")

        def add_gradient():
            # Part of a gradient is there when memory runs out in the next micro-batch.
            policy.backward_N(policy.tokens(prompts, responses), lambda logprobs, _: torch.ones_like(logprobs))
            if fails:
                fails.pop()
                raise torch.OutOfMemoryError
            return 7

        return add_gradient

    def test_it_starts_again_with_checkpointing_and_says_so_once(self, caplog):
        policy = tiny_policy(dtype=torch.float64)
        policy.model.train()
        self.fails_once(policy, [])()
        expected = gradients(policy)
        with caplog.at_level(logging.WARNING):
            assert within_memory(policy.model, self.fails_once(policy, [1])) == 7
            assert worst_relative(gradients(policy), expected) < 1e-12
            assert policy.model.model.layers[0].gradient_checkpointing
            within_memory(policy.model, self.fails_once(policy, []))
        assert len(caplog.records) == 1

    def test_twice_is_an_error(self):
        policy = tiny_policy()
        with pytest.raises(torch.OutOfMemoryError):
            within_memory(policy.model, self.fails_once(policy, [1, 1]))
