"""The process that vLLM lives in: its environment, its messages, its end."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any, Self

from gppo.types import GppoError, UserError

_WORKER = Path(__file__).with_name("worker.py")
_SHARED_MEMORY = Path("/dev/shm")
_END_SECONDS = 10
#: How the variables begin by which a process knows that it is one of torchrun's ranks, which vLLM is not.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


class VLLMProcess:
    """vLLM while it runs. Use it as a context manager.

    Args:
        python: the interpreter of vLLM's environment.
        log: a file for what vLLM says.
        on_cpu: whether it computes on a CPU.
        threads: CPU threads, where it does.
        cache_gb: memory for keys and values, where it does; whole GB.
        devices: GPUs that it may see, e.g. "1,2"; None for those of this process.

    Raises:
        UserError: the interpreter cannot be started.
    """

    def __init__(
        self,
        python: Path,
        log: Path,
        *,
        on_cpu: bool,
        threads: int = 1,
        cache_gb: int = 1,
        devices: str | None = None,
    ) -> None:
        self.log = log
        ours, theirs = socket.socketpair()
        # vLLM in one process: weights reach it there, and it ends with that process.
        env = os.environ | {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        env.pop("PYTHONPATH", None)  # the libraries of this environment are not those of that one
        for name in list(env):
            if name.startswith(_TORCHRUN):
                del env[name]
        if on_cpu:
            openmp = next((python.parents[1] / "lib").rglob("libiomp5.so"), None)
            env |= {"VLLM_CPU_KVCACHE_SPACE": str(cache_gb), "OMP_NUM_THREADS": str(threads)}
            env |= {"LD_PRELOAD": str(openmp)} if openmp else {}
        if devices is not None:
            env["CUDA_VISIBLE_DEVICES"] = devices
        with theirs, log.open("ab") as out:
            try:
                self._process = subprocess.Popen(
                    [str(python), str(_WORKER), str(theirs.fileno())],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the trainer, which then ends this one
                )
            except OSError as error:
                ours.close()
                raise UserError(
                    f"vllm.python: {python} cannot be started ({error.strerror}); give the interpreter of an "
                    "environment with vLLM"
                ) from error
        self._connection = Connection(ours.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, what: str, **told: Any) -> dict[str, Any]:
        """Have something done, and wait for the answer."""
        self.tell(what, **told)
        return self.answer()

    def tell(self, what: str, **told: Any) -> None:
        """Have something done."""
        try:
            self._connection.send({"do": what, **told})
        except OSError as error:
            raise self._died() from error

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            GppoError: vLLM failed or its process ended; the message says why and where to read more.
        """
        try:
            found: dict[str, Any] = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if "failed" in found:
            raise GppoError(f"vLLM failed: {found['failed']}; what it said before is in {self.log}")
        return found

    def close(self) -> None:
        """End it; killed where it does not end by itself."""
        self._connection.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _died(self) -> GppoError:
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return GppoError(f"vLLM closed its connection; what it said before is in {self.log}")
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if status == -signal.SIGKILL:
            how += " (memory used up, perhaps)"
        return GppoError(f"vLLM's process {how}; what it said before is in {self.log}. Run the same command to go on")


@contextmanager
def exchange_folder(size: int) -> Iterator[Path]:
    """A folder for weights on their way, of ``size`` bytes: in shared memory where that has room, else on disk."""
    roomy = _SHARED_MEMORY.is_dir() and disk_usage(_SHARED_MEMORY).free > 1.1 * size
    folder = Path(tempfile.mkdtemp(prefix="gppo-weights-", dir=_SHARED_MEMORY if roomy else None))
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)
