"""vLLM's OpenAI server in a process of its own, on the CPU."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gppo.config import TinyConfig

_START_SECONDS = 240
#: vLLM's attention on a CPU knows heads of 32 numbers and more.
SHAPE = TinyConfig(hidden_size=64, layers=2, heads=2, kv_heads=1)


@dataclass
class VLLMServer:
    """The server while it runs.

    Args:
        python: of vLLM's environment.
        model: a folder with weights and tokenizer.
        port: that it listens on.
        log: what it says.
        context: tokens of prompt and response.
    """

    python: Path
    model: Path
    port: int
    log: Path
    context: int
    process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        command = [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", self.model]
        command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", str(self.context)]
        command += ["--reasoning-parser", "qwen3"]
        with self.log.open("wb") as log:
            # In pytest's process group, so that what ends that from outside ends the server too.
            self.process = subprocess.Popen(list(map(str, command)), env=self._environment(), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, f"vLLM ended: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"vLLM does not answer: {self.log.read_text()[-3000:]}"
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer to a request by hand."""
        content = json.dumps({"model": "tiny", **body}).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _environment(self) -> dict[str, str]:
        openmp = next(self.python.parents[1].rglob("libiomp5.so"), None)
        return os.environ | {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "OMP_NUM_THREADS": "2",
            "LD_PRELOAD": str(openmp or ""),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
