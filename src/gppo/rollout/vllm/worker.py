"""vLLM in a process and an environment of its own; started by ``gppo.rollout.vllm.process`` as a script.

It imports nothing of gppo, because vLLM wants other versions of the libraries that gppo stands on. It is told what to
do through the connection whose descriptor is its only argument:

    {"do": "start", ...engine arguments}                   -> {"ready": versions}
    {"do": "reload", "folder": F}                          -> {"done": ...}
    {"do": "generate", "prompts", "wanted", "sampling"}    -> {"ended": ...} for each response, then {"all": count}
    {"do": "abort"}                                        ends what is under way -> {"aborted": ...}, at any time
    {"do": "sleep"} | {"do": "wake"}                       -> {"done": ...}

An exception becomes {"failed": text} and ends the process. Both ends are ours; what a model says passes as
numbers only.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

#: The default of vLLM is the probability before temperature and truncation; RL needs that of the draw.
_ALWAYS = {"logprobs_mode": "processed_logprobs", "enable_prefix_caching": True}


def _start(arguments: dict[str, Any]) -> Any:
    from vllm import LLM

    return LLM(**arguments, **_ALWAYS)


def _reload(llm: Any, folder: str) -> None:
    """Take the weights of the folder, and forget every prefix that was computed with the old ones."""
    llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
    if not llm.reset_prefix_cache():
        raise RuntimeError("vLLM kept prefixes that were computed with the old weights")


def _generate(llm: Any, connection: Connection, prompts: Sequence[Any], wanted: Sequence[Any], sampling: Any) -> None:
    """Send every response as soon as it ends; stop at an "abort"."""
    from vllm import SamplingParams, TokensPrompt
    from vllm.sampling_params import RequestOutputKind

    engine = llm.llm_engine
    always = {"logprobs": 0, "detokenize": False, "output_kind": RequestOutputKind.FINAL_ONLY}
    for number, (prompt, seed, limit) in enumerate(wanted):
        params = SamplingParams(**sampling, **always, seed=seed, max_tokens=limit)
        engine.add_request(str(number), TokensPrompt(prompt_token_ids=prompts[prompt].tolist()), params)
    ended = 0
    for output in _steps(engine):
        if output.finished:
            (said,) = output.outputs
            ids = list(said.token_ids)
            logprobs = [table[token].logprob for token, table in zip(ids, said.logprobs, strict=True)]
            connection.send(
                {"ended": int(output.request_id), "ids": ids, "logprobs": logprobs, "why": said.finish_reason}
            )
            ended += 1
        if connection.poll():
            assert connection.recv()["do"] == "abort"
            engine.abort_request([str(number) for number in range(len(wanted))])
            connection.send({"aborted": ended})
            return
    connection.send({"all": ended})


def _steps(engine: Any) -> Iterator[Any]:
    while engine.has_unfinished_requests():
        yield from engine.step()


def main(connection: Connection) -> None:
    """Do what is told, until the other end closes."""
    llm: Any = None
    while True:
        told = connection.recv()
        what = told.pop("do")
        if what == "start":
            import vllm

            llm = _start(told)
            connection.send({"ready": vllm.__version__})
        elif what == "reload":
            _reload(llm, told["folder"])
            connection.send({"done": what})
        elif what == "generate":
            _generate(llm, connection, told["prompts"], told["wanted"], told["sampling"])
        elif what == "abort":  # it came when the work was done, or between two pieces of it
            connection.send({"aborted": 0})
        elif what == "sleep":
            llm.sleep(level=2)  # weights go too: they are sent anew before the next rollouts
            connection.send({"done": what})
        elif what == "wake":
            llm.wake_up()
            connection.send({"done": what})


if __name__ == "__main__":
    ours = Connection(int(sys.argv[1]))
    status = 1
    try:
        main(ours)
    except (EOFError, BrokenPipeError):  # gppo has ended
        status = 0
    except Exception as error:
        traceback.print_exc()
        ours.send({"failed": f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"})
    sys.stderr.flush()
    os._exit(status)  # vLLM's own threads must not keep the process alive
