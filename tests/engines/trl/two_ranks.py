"""One of two processes: saves the gradient of a replayed batch, and what our decoder drew for its half of the rows."""

import json
import sys
from pathlib import Path

import torch
from trl_runs import GROUP, through_trl, tiny_policy

from gppo.bridges.trl import LocalRollouts

folder = Path(sys.argv[1])
seen = through_trl(folder / "out", tiny_policy(), passes=1, ranks=2, lm_alpha=0.1)
rank = seen.trainer.accelerator.process_index
torch.save(seen.gradient, folder / f"gradient-{rank}.pt")
drawn = LocalRollouts()(["1+1="] * (GROUP // 2), seen.trainer)["completion_ids"]
(folder / f"drawn-{rank}.json").write_text(json.dumps({"drawn": drawn, "metrics": seen.trainer.state.log_history[1]}))
torch.distributed.destroy_process_group()
