"""What a child does while it waits, and the keeper before it forks: an attempt that does nothing."""

import json
import subprocess
import sys

from tests.support.process import ROOT

PROGRAM = """
import gc, json, os, resource, threading
from headway.running.processes.child.rehearsal import OFTEN, rehearse

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def descriptors():
    return len(os.listdir("/proc/self/fd"))

for _ in range(OFTEN):
    rehearse(listens=False)
gc.disable()
gc.freeze()
if (pid := os.fork()) == 0:
    open_before, began = descriptors(), faults()
    rehearse(listens=True)
    first, began = faults() - began, faults()
    rehearse(listens=True)
    left = threading.active_count() - 1, descriptors() - open_before
    print(json.dumps({"first": first, "second": faults() - began, "threads": left[0], "descriptors": left[1]}))
    raise SystemExit
os.waitpid(pid, 0)
"""


def test_a_forked_process_that_has_rehearsed_copies_few_pages_for_an_attempt_and_keeps_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    assert found["second"] < found["first"] / 4, found
    assert (found["threads"], found["descriptors"]) == (0, 0)
