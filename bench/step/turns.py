"""Two programs that take turns at the same work, and what each was seen to do."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections import deque

# Rounds of each that do not count: the first compiles kernels or the model, and some libraries choose among theirs later.
WARM_UP = 2
# Lines of a program's standard error that are kept, for the reason why it ended.
KEPT_LINES = 200
LONGEST_REASON = 300


class Contender:
    """A process that does a round for each line it reads. One that ends has a `failure`, and does no more rounds."""

    def __init__(self, command, quiet):
        self.seconds, self.peak_mib, self.failure = [], 0.0, None
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.said = deque(maxlen=KEPT_LINES)
        self.listener = threading.Thread(target=self.listen, args=[quiet], daemon=True)
        self.listener.start()

    def listen(self, quiet):
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if not quiet:
                print(line, end="", file=sys.stderr, flush=True)

    def round(self, counts=True):
        if self.failure:
            return
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It ended before; so does what it writes.
            pass
        line = self.process.stdout.readline()
        if not line:
            self.failure = self.reason()
            return
        done = json.loads(line)
        self.peak_mib = max(self.peak_mib, done["peak_mib"] or 0.0)
        if counts:
            self.seconds.append(done["seconds"])

    def reason(self):
        """What it said last that begins with `error:`, as Fourfold and `contender.py` do, or how else it ended."""
        status = self.process.wait()
        self.listener.join()
        if status < 0:
            return f"ended by {signal.Signals(-status).name}; the machine may have run out of memory"
        said = list(self.said)
        begins = [number for number, line in enumerate(said) if line.startswith("error:")]
        if not begins:
            return f"ended with status {status} and no reason"
        lines = said[begins[-1] :]
        lines = lines[: lines.index("")] if "" in lines else lines
        return " ".join(line.strip() for line in lines).removeprefix("error: ")[:LONGEST_REASON]

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()

    @property
    def median(self):
        """Seconds of a round; none where it did not do all."""
        return None if self.failure else statistics.median(self.seconds)


def take_turns(commands, rounds):
    """Lets the programs of `commands` do a round each, again and again; one that fails leaves the others to it."""
    quiet = "QUIET" in os.environ
    contenders = [Contender(command, quiet) for command in commands]
    try:
        for number in range(-WARM_UP, rounds):
            for contender in contenders:
                contender.round(counts=number >= 0)
    finally:
        for contender in contenders:
            contender.end()
    return contenders
