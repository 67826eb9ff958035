"""GPPO in TRL, offline on a laptop: a tiny random model, sums, our rewards and our decoder.

    pip install 'gppo[trl]'
    python examples/trl_gppo.py

For a real model: model = "Qwen/Qwen3-0.6B", no processing_class, a data set of your own, and 1e-6 as learning rate.
"""

from datasets import Dataset

from gppo.bridges.trl import GPPOConfig, GPPOTrainer, LocalRollouts, math_reward
from gppo.config import TinyConfig
from gppo.policy import byte_tokenizer, tiny_qwen3

tokenizer = byte_tokenizer()
model = tiny_qwen3(TinyConfig(hidden_size=64, layers=2), tokenizer, seed=0)
sums = [(a, b) for a in range(10) for b in range(10)]
data = Dataset.from_list([{"prompt": f"{a}+{b}=\\boxed", "answer": str(a + b)} for a, b in sums])
args = GPPOConfig("runs/trl", max_steps=8, steps_per_generation=4, max_completion_length=8, lm_alpha=0.1, bf16=False)
trainer = GPPOTrainer(model, math_reward, args, data, processing_class=tokenizer, rollout_func=LocalRollouts())
trainer.train()
