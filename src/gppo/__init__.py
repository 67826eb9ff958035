"""gppo: reinforcement-learning post-training for reasoning models with gradient-preserving clipping.

The rooms, from the bottom up: ``types`` (the nouns), ``config`` | ``records`` | ``run``, ``sandbox`` | ``objectives``,
``verify``, ``policy``, ``rollout``, ``evaluate`` | ``report``, ``sft`` | ``rl`` | ``curate``, ``miniature``, ``cli``.
A room imports only from rooms below it.
"""

__version__ = "0.1.0.dev0"
