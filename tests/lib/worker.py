# SPDX-License-Identifier: GPL-3.0-or-later
"""The station's side of a worker, for tests: gives orders, collects reports (base/order.h, base/frame.h).

    with Worker(program, drive, state, job="j", drive_id="QX7", ...) as worker:
        worker.wait()                    # until the worker is gone
        worker.result["copy_status"], worker.outcomes, worker.notes, worker.activities, worker.progress

Keys of the order are the fields' names in struct bth_order; bytes are secrets, bool and int numbers.
"""
import os
import select
import socket
import struct
import subprocess
import threading
import time

ORDER, CREDENTIAL, BANDWIDTH, STOP = 1, 2, 3, 4
SANDBOX, ACTIVITY, PROGRESS, NOTE, OUTCOME, RESULT = 16, 17, 18, 19, 20, 21
EXIT = 24
ORDER_FIELDS = [
    "job", "drive_id", "manifest_path", "manifest_hash", "header_hash", "bitlocker_key", "account", "endpoint",
    "allow_plain", "credential_kind", "credential", "ca_file", "proxy", "client_cert", "client_key", "connect_to",
    "default_disposition", "verify", "verbose_log", "manifest_backup", "manifest_credentials", "without_range_list",
    "guess_content_type", "no_uring", "diagnostics", "started_usec", "memory_bytes", "bandwidth_bytes_per_sec",
    "max_in_flight", "blobs_at_once", "stall_sec", "cpu_seconds",
    "containers", "identity_client", "identity_endpoint"]
# Names of the reports' fields, in the order of their tags; those with a colon are numbers.
REPORTS = {
    SANDBOX: ["no_new_privileges:", "no_dumps:", "system_calls:", "files:", "connections:", "limits:", "uring:",
              "landlock_abi:", "sentence"],
    ACTIVITY: ["activity", "sentence"],
    PROGRESS: ["blobs:", "blobs_done:", "bytes:", "bytes_done:", "bytes_per_sec:", "sent_bytes:", "requests:",
               "retries:", "throttled:", "refused:", "in_flight:", "limit:", "queued:", "waiting_retry:",
               "waiting_credentials:", "waiting_disk:", "waiting_cpu:", "waiting_network:", "waiting_throttled:",
               "waiting_budget:", "budget_bytes:", "budget_taken_bytes:"],
    NOTE: ["name", "object", "blob", "line:", "sentence", "advice"],
    OUTCOME: ["index:", "blob_path", "file_path", "name", "status", "disposition", "length_bytes:", "sent_bytes:",
              "resumed:", "reason", "sentence", "advice", "offset_bytes:"],
    RESULT: ["end", "copy_status", "reason", "object", "sentence", "advice", "blobs:", "completed:", "created:",
             "renamed:", "skipped:", "overwritten:", "failed:", "bytes:", "sent_bytes:", "error_log", "verbose_log",
             "manifest", "line:"],
    EXIT: ["wait_status:"],
}


def encode(kind: int, fields: list, n_fds: int = 0) -> bytes:
    body = b""
    for tag, value in fields:
        if isinstance(value, (bool, int)):
            value = struct.pack("<Q", int(value))
        elif isinstance(value, str):
            value = value.encode()
        body += struct.pack("<HHI", tag, 0, len(value)) + value
    return b"BRTH" + struct.pack("<HHII", 1, kind, len(body), n_fds) + body


def decode(kind: int, body: bytes) -> dict:
    report, at = {}, 0
    names = REPORTS[kind]
    while at < len(body):
        tag, _, length = struct.unpack_from("<HHI", body, at)
        value = body[at + 8:at + 8 + length]
        at += 8 + length
        name = names[tag - 1]
        report[name.rstrip(":")] = struct.unpack("<Q", value)[0] if name.endswith(":") else value.decode()
    return report


class Worker:
    """One run. The drive is a path or a descriptor; it is handed over read-only. A deaf station reads nothing."""

    def __init__(self, program, drive, state, command=(), deaf=False, **order):
        self.deaf = deaf
        self.program, self.drive, self.state, self.command = str(program), drive, str(state), list(command)
        self.order = {"default_disposition": "rename", "verify": "full", **order}
        self.reports = []

    def __enter__(self) -> "Worker":
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.process = subprocess.Popen([*self.command, self.program], stdin=theirs, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        theirs.close()
        self._give_order()
        self.output = b""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        return self

    def _give_order(self) -> None:
        drive = self.drive if isinstance(self.drive, int) else os.open(self.drive, os.O_RDONLY | os.O_CLOEXEC)
        state = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        frame = encode(ORDER, [(ORDER_FIELDS.index(name) + 1, value) for name, value in self.order.items()
                               if value is not None], 2)
        sent = socket.send_fds(self.socket, [frame], [drive, state])
        self.socket.sendall(frame[sent:])
        os.close(state)
        if not isinstance(self.drive, int):
            os.close(drive)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.listener.join(10)
        self.process.stdout.close()
        self.socket.close()

    def _receive(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _read(self) -> None:
        if self.deaf:
            return
        try:
            while True:
                magic, _, kind, length, _ = struct.unpack("<4sHHII", self._receive(16))
                assert magic == b"BRTH", magic
                self.reports.append((kind, decode(kind, self._receive(length))))
        except (EOFError, OSError):
            pass

    def _listen(self) -> None:
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.output += piece

    def send(self, kind: int, *fields) -> None:
        self.socket.sendall(encode(kind, list(fields)))

    def wait(self, timeout: float = 300) -> int:
        code = self.process.wait(timeout)
        self.reader.join(10)
        self.listener.join(10)
        return code

    def until(self, good, timeout: float = 60):
        """Waits until good(self) is true; its value comes back."""
        deadline = time.monotonic() + timeout
        while not (value := good(self)):
            if self.process.poll() is not None:
                self.reader.join(10)
                if value := good(self):
                    return value
                raise AssertionError(f"the worker ended before: {self.result} {self.output.decode()[-2000:]}")
            assert time.monotonic() < deadline, f"waited in vain; last: {self.reports[-3:]}"
            select.select([], [], [], 0.005)
        return value

    def of(self, kind: int) -> list:
        return [report for k, report in list(self.reports) if k == kind]

    @property
    def result(self) -> dict | None:
        results = self.of(RESULT)
        assert len(results) <= 1, "more than one result"
        return results[0] if results else None

    @property
    def outcomes(self) -> dict:
        return {o["blob_path"]: o for o in self.of(OUTCOME)}

    @property
    def notes(self) -> list:
        return self.of(NOTE)

    @property
    def activities(self) -> list:
        return [a["activity"] for a in self.of(ACTIVITY)]


class RemoteWorker(Worker):
    """One that systemd starts for who connects to its socket (berth-worker.socket)."""

    def __enter__(self) -> "RemoteWorker":
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(self.program)
        self._give_order()
        return self

    def __exit__(self, *_) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(10)
        self.socket.close()

    def wait(self, timeout: float = 300) -> "int | None":
        """The status of waitpid(2), as the station is told it; None: nobody told."""
        self.reader.join(timeout)
        assert not self.reader.is_alive(), "the worker came to no end"
        told = self.of(EXIT)
        return told[0]["wait_status"] if told else None

    def until(self, good, timeout: float = 60):
        deadline = time.monotonic() + timeout
        while not (value := good(self)):
            assert time.monotonic() < deadline, f"waited in vain; last: {self.reports[-3:]}"
            select.select([], [], [], 0.005)
        return value
