# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes cost: CPU-seconds and peak memory of a group of them, read from /proc.

    with Meter(pid, another_pid) as meter:
        ...
    meter.wall, meter.cpu, meter.peak

A process that ends while it is measured is charged as it stood 20 ms before its end, or exactly, if whoever
waits for it tells: meter.ended(pid, rusage).
"""
import os
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
LOOK_SEC = 0.02


def cpu_of(pid: int) -> "float | None":
    """User and system time so far, of all its threads; None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else (int(fields[11]) + int(fields[12])) / TICK


def peak_of(pid: int) -> int:
    """Bytes resident at most, so far. Not from rusage, which counts what its parent was before exec()."""
    try:
        with open(f"/proc/{pid}/status", "rb") as f:
            for line in f:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) << 10
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class Meter:
    def __init__(self, *pids: int):
        self.before = {pid: cpu_of(pid) or 0.0 for pid in pids}
        self.spent = {pid: 0.0 for pid in pids}
        self.exact: "set[int]" = set()
        self.peaks = {pid: 0 for pid in pids}
        self.over = threading.Event()

    def __enter__(self) -> "Meter":
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def add(self, pid: int) -> None:
        """One that was started just now: all of it counts."""
        self.spent[pid], self.peaks[pid], self.before[pid] = 0.0, 0, 0.0

    def ended(self, pid: int, usage) -> None:
        self.spent[pid] = usage.ru_utime + usage.ru_stime
        self.exact.add(pid)

    def _look(self) -> None:
        for pid in list(self.before):
            now = cpu_of(pid)
            if now is not None and pid not in self.exact:
                self.spent[pid] = now - self.before[pid]
            self.peaks[pid] = max(self.peaks[pid], peak_of(pid))

    def _watch(self) -> None:
        while not self.over.wait(LOOK_SEC):
            self._look()

    def __exit__(self, *_) -> None:
        self.wall = time.monotonic() - self.began
        self.over.set()
        self.thread.join()
        self._look()
        self.cpu, self.peak = sum(self.spent.values()), sum(self.peaks.values())
