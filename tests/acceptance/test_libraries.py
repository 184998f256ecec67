"""Libraries that a fork may break, tried for real: forked where that works, otherwise spawned and the log says why."""

from pathlib import Path
from typing import Any

from tests.support.process import ServerProcess
from tests.support.serving import Serving

# OpenBLAS starts its threads for the product, and ends them before a fork.
NUMPY = """
import os
from pathlib import Path
import numpy as np
from headway import BlockingContext, job

SIZE = 256
SQUARE = np.arange(SIZE * SIZE, dtype=float).reshape(SIZE, SIZE) % 7
PRODUCT = SQUARE @ SQUARE
THREADS_AT_IMPORT = len(os.listdir("/proc/self/task"))
np.random.seed(7)
EXACT = SQUARE.astype(int) @ SQUARE.astype(int)  # integers are multiplied by NumPy itself, in one thread

@job("multiply")
def multiply(ctx: BlockingContext) -> dict[str, object]:
    before = len(os.listdir("/proc/self/task"))
    right = all(bool((SQUARE @ SQUARE == EXACT).all()) for _ in range(3))
    return {
        "right": right,
        "drawn": np.random.random(),
        "threads_at_import": THREADS_AT_IMPORT,
        "threads_started_again": len(os.listdir("/proc/self/task")) - before,
        "forked": Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "headway-nursery",
    }
"""

GRPC = '''
import os, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from headway import BlockingContext, job

@job("call")
def call(ctx: BlockingContext) -> dict[str, object]:
    """A call of a server of its own, through gRPC's threads on both sides."""
    server = grpc.server(ThreadPoolExecutor(1))
    echo = {"say": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo", echo)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        heard = channel.unary_unary("/echo/say")(b"hello", wait_for_ready=True)
    server.stop(None).wait()
    forked = Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "headway-nursery"
    return {"heard": heard.decode(), "forked": forked}
'''

# A channel has threads and descriptors from the start, whether or not it is ever used.
GRPC_CHANNEL = GRPC.replace('"call"', '"call-too"') + 'opened = grpc.insecure_channel("127.0.0.1:1")\n'

TWO_THREADS = {"OPENBLAS_NUM_THREADS": "2"}
SPAWNED = "the job processes of a module are spawned, not forked"


def _results(server: ServerProcess, job_type: str, times: int) -> list[Any]:
    """What a type's jobs return, all of them submitted at once."""
    jobs = [server.wait_for(job_id) for job_id in [server.submit(job_type) for _ in range(times)]]
    assert [job["status"] for job in jobs] == ["completed"] * times, jobs
    return [job["result"] for job in jobs]


def _modules(folder: Path, **texts: str) -> list[str]:
    arguments = []
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.write_text(text, "utf-8")
        arguments += ["--jobs", str(path)]
    return arguments


def test_libraries_that_can_be_forked_work_in_every_child(serving: Serving, tmp_path: Path) -> None:
    server = serving(":memory:", *_modules(tmp_path, numpy_jobs=NUMPY, grpc_jobs=GRPC), env=TWO_THREADS)
    multiplied = _results(server, "multiply", 20)
    assert len({result.pop("drawn") for result in multiplied}) == 20
    assert multiplied == [{"right": True, "threads_at_import": 2, "threads_started_again": 1, "forked": True}] * 20
    assert _results(server, "call", 4) == [{"heard": "hello", "forked": True}] * 4
    assert SPAWNED not in server.log()


def test_a_module_that_opens_a_grpc_channel_is_spawned_and_the_others_are_forked(
    serving: Serving, tmp_path: Path
) -> None:
    modules = _modules(tmp_path, numpy_jobs=NUMPY, channel_jobs=GRPC_CHANNEL, grpc_jobs=GRPC)
    server = serving(":memory:", *modules, env=TWO_THREADS)
    assert _results(server, "call-too", 2) == [{"heard": "hello", "forked": False}] * 2
    assert _results(server, "call", 2) == [{"heard": "hello", "forked": True}] * 2
    assert all(result["right"] and result["forked"] for result in _results(server, "multiply", 4))
    (line,) = [line for line in server.log().splitlines() if SPAWNED in line]
    assert "channel_jobs.py" in line
    assert "it starts threads of native code when it is imported" in line
