"""Forks ``gppo`` from a process that has imported everything: a start costs a tenth of a second, and the process is as
real as any other.

Reads a JSON line {"folder", "arguments", "output", "environment"}; answers with the process's id, and with its exit
status (negative: the signal) once it has ended.
"""

import json
import os
import sys

import gppo.curate.distill
import gppo.evaluate.stage
import gppo.report
import gppo.rl.stage
import gppo.sft.stage
import gppo.verify.code
import gppo.verify.files  # noqa: F401
from gppo.cli.main import main
from gppo.config import ModelConfig, TinyConfig
from gppo.policy import load_policy

# What transformers imports only now.
load_policy(ModelConfig(tiny=TinyConfig(hidden_size=32, layers=1, heads=2, kv_heads=1), tokenizer="bytes"), seed=0)
print("ready", flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["gppo", *asked["arguments"]]
        status = 1
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # taking torch apart takes a second
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
