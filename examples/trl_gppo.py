"""GPPO in TRL, offline in half a minute: a random tiny model learns to say digits; our rewards, our decoder.

    pip install 'gppo[trl]'
    python examples/trl_gppo.py

For a real model: "Qwen/Qwen3-0.6B" instead of model, no processing_class, math_reward alone, a learning rate of 1e-6.
"""

from datasets import Dataset

from gppo.bridges.trl import GPPOConfig, GPPOTrainer, LocalRollouts, math_reward
from gppo.config import TinyConfig
from gppo.policy import byte_tokenizer, tiny_qwen3


def digits(completions, **_):
    """The share of digits, which even a random model can learn; the sums themselves it cannot."""
    return [sum(map(str.isdigit, text)) / 8 for text in completions]


tokenizer = byte_tokenizer()
model = tiny_qwen3(TinyConfig(hidden_size=64, layers=2), tokenizer, seed=0)
data = Dataset.from_list([{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(10) for b in range(10)])
args = GPPOConfig(
    output_dir="runs/trl", max_steps=60, learning_rate=3e-3, logging_steps=4, per_device_train_batch_size=16,
    steps_per_generation=4, max_completion_length=8, lm_alpha=0.1, bf16=False, report_to="none",
)  # fmt: skip
rewards = [math_reward, digits]
trainer = GPPOTrainer(model, rewards, args, data, processing_class=tokenizer, rollout_func=LocalRollouts())
trainer.train()
