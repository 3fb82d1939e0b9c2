"""The process of a run, from outside."""

import contextlib
import os
import signal
import subprocess


def stop_group(child: "subprocess.Popen[bytes]", sign: signal.Signals, seconds: float) -> None:
    """End a child that leads a process group, and all of the group: asked by `sign`, killed after `seconds`."""
    for each in (sign, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, each)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=seconds)
            return
