"""What a child does while it waits, and the keeper before it forks: an attempt that does nothing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.process import ROOT

PROGRAM = """
import gc, json, os, resource, socket, sys, threading
from headway import job
from headway.ports.files import Directories
from headway.running.processes.channel import BlockingChannel
from headway.running.processes.child.dependencies import Dependencies
from headway.running.processes.child.main import _Process
from headway.running.processes.child.rehearsal import OFTEN, rehearse
from headway.running.processes.messages import Start

@job("empty")
def empty(ctx) -> None: ...

folder = sys.argv[1]
attempts = [Start("jobs", "empty", "1", 1, "local", "{}", None, Directories(*[folder] * 3), folder + "/lock", {})]
seen = []

def look():
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seen.append((faults, threading.active_count(), len(os.listdir("/proc/self/fd"))))

class Channel(BlockingChannel):
    def receive(self):
        look()
        return attempts.pop()

ours, theirs = socket.socketpair()
for _ in range(OFTEN):
    rehearse(listens=False)
gc.disable()
gc.freeze()
if (pid := os.fork()) == 0:
    channel = Channel(theirs.detach())
    look()
    _Process(channel, Dependencies(), loaded=True).live()
    look()
    print(json.dumps(seen))
    raise SystemExit
os.waitpid(pid, 0)
"""


def test_a_child_that_waits_has_copied_most_of_the_pages_that_an_attempt_needs_and_keeps_nothing(
    tmp_path: Path,
) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    (began, *had), (waited, *has), (ended, *_) = json.loads(done.stdout)
    assert ended - waited < waited - began
    assert has == had  # threads and descriptors
