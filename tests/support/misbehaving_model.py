"""A seed process whose workers have an interpreter that crashes, spins, hangs or returns NaN.

Run as ``python -m tests.support.misbehaving_model DESCRIPTOR BEHAVIOUR``: it happens from the second prediction on, as
the first is the one that loading makes; for a behaviour that begins with ``load-`` it happens in that one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier import seed
from classifier.model import Answer, Model


class MisbehavingModel(Model):
    """The fixture model, until it is asked for the prediction that goes wrong."""

    behaviour = ""
    predictions = 0

    def answer(self, tensor: NDArray[np.uint8]) -> Answer:
        self.predictions += 1
        behaviour = self.behaviour.removeprefix("load-")
        if (self.predictions == 1) is not self.behaviour.startswith("load-"):
            return super().answer(tensor)
        if behaviour == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while behaviour == "spin":
            pass
        if behaviour == "hang":
            signal.pause()
        return Answer(np.full(len(self.manifest.labels), np.nan, np.float32))


def start_seed(behaviour: str) -> seed.Seed:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), behaviour],
            cwd=Path(__file__).parent.parent.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=[theirs.fileno()],
        ).returncode = 0
    return seed.Seed(ours)


if __name__ == "__main__":
    MisbehavingModel.behaviour = sys.argv[2]
    seed.main(int(sys.argv[1]), MisbehavingModel.load)
