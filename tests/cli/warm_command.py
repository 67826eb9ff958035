"""Runs ``gppo`` in forks of a process that has imported everything: real processes, without seconds of imports each.

Reads a JSON line {"folder", "arguments", "stdout", "stderr"} at a time and answers each with an exit status.
"""

import json
import os
import sys

import gppo.evaluate.stage
import gppo.report
import gppo.rl.stage
import gppo.sft.stage  # noqa: F401
from gppo.cli.main import main
from gppo.config import ModelConfig, TinyConfig
from gppo.policy import load_policy

# What transformers imports only now.
load_policy(ModelConfig(tiny=TinyConfig(hidden_size=32, layers=1, heads=2, kv_heads=1), tokenizer="bytes"), seed=0)

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(asked["folder"])
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = ["gppo", *asked["arguments"]]
        try:
            main()
        except SystemExit as stop:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(stop.code or 0))  # taking torch apart takes a second
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
