"""What tests of the program share: failing, and calling it. Standard library only."""

import os
import subprocess
import sys


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def check(condition, message):
    if not condition:
        fail(message)


class Program:
    def __init__(self, couplet, mpiexec=None):
        self.couplet, self.mpiexec = couplet, mpiexec

    def call(self, *words, ranks=0, environment=None):
        """As one process, or as ranks of mpiexec; `environment` besides this process's own."""
        launch = (self.mpiexec, "--oversubscribe", "-n", ranks) if ranks else ()
        return subprocess.run([str(word) for word in (*launch, self.couplet, *words)], capture_output=True, text=True, timeout=600,
                              env=os.environ | (environment or {}))

    def works(self, *words, ranks=0):
        done = self.call(*words, ranks=ranks)
        check(done.returncode == 0, f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def refuses(self, status, parts, *words):
        """With this exit status, in one line that holds all parts."""
        done = self.call(*words)
        check(done.returncode == status, f"{words}: status {done.returncode}, expected {status}: {done.stderr}")
        check(done.stderr.count("\n") == 1, f"{words}: not one line: {done.stderr}")
        for part in parts:
            check(part in done.stderr, f"{words}: {part!r} not in {done.stderr}")
