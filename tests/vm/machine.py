# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine whose drives are plugged and pulled while it runs.

    with Machine(kernel, [base, programs], folder, port) as machine:
        machine.plug("d1", image, "scsi-hd", bus="hba.0", **{"scsi-id": 2}, serial="QX7")
        machine.run("cat /proc/partitions")
        machine.pull("d1")

Its network is its own; one address in it, BLOBS, leads to `port` of this machine. It is emulated (TCG), also where
/dev/kvm can be opened, because a nested one may take minutes; BERTH_QEMU_ACCEL=kvm says otherwise. It ends with the
block, and with this process, however that ends.
"""
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

BLOBS = "10.0.2.100:10000"
STEP_LIMIT_SEC = 60
READY_LIMIT_SEC = 240
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(AssertionError):
    """Something did not come to be in time, or the machine refused it."""


def wait_for(what: str, good, limit: float = STEP_LIMIT_SEC, alive=lambda: True):
    """Waits until good() is true; its value comes back."""
    deadline = time.monotonic() + limit
    while not (value := good()):
        if not alive():
            raise Failed(f"the machine ended before: {what}")
        if time.monotonic() > deadline:
            raise Failed(f"waited {limit} s in vain: {what}")
        select.select([], [], [], 0.05)
    return value


class Lines:
    """A stream socket, by lines."""

    def __init__(self, path: pathlib.Path, alive):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wait_for(f"the socket {path.name}", path.exists, alive=alive)
        self.socket.connect(str(path))
        self.rest = b""

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\n")

    def line(self, limit: float) -> "str | None":
        """The next line, or None when none is there in time."""
        deadline = time.monotonic() + limit
        while b"\n" not in self.rest:
            if not select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            piece = self.socket.recv(65536)
            if not piece:
                raise Failed("the machine hung up")
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace")


class Machine:
    def __init__(self, kernel: pathlib.Path, archives: list, folder: pathlib.Path, port: int, more: list = ()):
        self.kernel, self.folder, self.port, self.more = kernel, folder, port, list(more)
        self.initrd = folder / "initrd"
        with open(self.initrd, "wb") as out:
            for archive in archives:
                out.write(pathlib.Path(archive).read_bytes())
        self.process, self.events = None, []
        self.log_path, self.console_path = folder / "log", folder / "console"

    def _command(self) -> "list[str]":
        accel = os.environ.get("BERTH_QEMU_ACCEL", "tcg,thread=multi")
        return [
            "qemu-system-x86_64", "-M", "q35", "-accel", accel, "-cpu", "max", "-smp", "2", "-m", "768", "-nodefaults",
            "-display", "none", "-no-reboot", "-kernel", str(self.kernel), "-initrd", str(self.initrd),
            "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0",
            "-chardev", f"file,id=console,path={self.console_path}", "-serial", "chardev:console",
            "-chardev", f"socket,id=shell,path={self.folder}/shell,server=on,wait=off", "-serial", "chardev:shell",
            "-chardev", f"file,id=log,path={self.log_path}", "-serial", "chardev:log",
            "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
            # At fixed addresses, so that the paths of drives are known: see the bays of the tests.
            "-device", "virtio-scsi-pci,id=hba,addr=0x5",
            "-device", "pcie-root-port,id=rp1,chassis=1,slot=1,addr=0x6",
            "-device", "pcie-root-port,id=rp2,chassis=2,slot=2,addr=0x7",
            "-device", "qemu-xhci,id=usb,addr=0x8",
            "-netdev", f"user,id=net,restrict=on,guestfwd=tcp:{BLOBS}-cmd:socat - TCP:127.0.0.1:{self.port}",
            "-device", "virtio-net-pci,netdev=net,addr=0x9", *self.more]

    def alive(self) -> bool:
        return self.process.poll() is None

    def __enter__(self) -> "Machine":
        self.process = subprocess.Popen(
            self._command(), stdin=subprocess.DEVNULL, stdout=open(self.folder / "qemu", "wb"),
            stderr=subprocess.STDOUT, preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        try:
            self.control = Lines(self.folder / "qmp", self.alive)
            self.shell = Lines(self.folder / "shell", self.alive)
            self.qmp("qmp_capabilities")
            self._answer("the start", READY_LIMIT_SEC)
        except BaseException as e:
            self.__exit__()
            raise Failed(f"{e}\n{self.account()}") from e
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()

    def account(self) -> str:
        """What it and the programs in it said, for people who look for the reason."""
        parts = []
        for name in ["qemu", "console", "log"]:
            path = self.folder / name
            text = path.read_text(errors="replace") if path.exists() else ""
            parts.append(f"--- {name} ---\n{text[-6000:]}")
        return "\n".join(parts)

    # -- in the machine

    def _answer(self, what: str, limit: float) -> str:
        deadline, lines = time.monotonic() + limit, []
        while (line := self.shell.line(deadline - time.monotonic())) is not None:
            if line.startswith("@@"):
                if line != "@@0":
                    raise Failed(f"{what}: status {line[2:]}: " + "\n".join(lines))
                return "\n".join(lines)
            lines.append(line)
        raise Failed(f"waited {limit:.0f} s in vain for the answer of: {what}\n" + "\n".join(lines))

    def run(self, command: str, limit: float = STEP_LIMIT_SEC) -> str:
        """One line of the shell; its output comes back. Another status than 0 is a failure."""
        self.shell.send(command)
        return self._answer(command, limit)

    def log(self) -> str:
        """What was written to the third serial port so far."""
        return self.log_path.read_text(errors="replace")

    def wait(self, what: str, good, limit: float = STEP_LIMIT_SEC):
        return wait_for(what, good, limit, self.alive)

    def wait_log(self, text: str, since: int = 0, limit: float = STEP_LIMIT_SEC) -> str:
        return self.wait(f"'{text}' in the log", lambda: next((line for line in self.log()[since:].splitlines()
                                                               if text in line), None), limit)

    # -- the machine itself

    def _message(self, limit: float) -> "dict | None":
        line = self.control.line(limit)
        return json.loads(line) if line is not None else None

    def qmp(self, command: str, **arguments) -> object:
        self.control.send(json.dumps({"execute": command, "arguments": arguments}))
        while (message := self._message(STEP_LIMIT_SEC)) is not None:
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise Failed(f"{command} {arguments}: {message['error']['desc']}")
            elif "return" in message:
                return message["return"]
        raise Failed(f"{command}: no answer")

    def _wait_deleted(self, device: str) -> None:
        deadline = time.monotonic() + STEP_LIMIT_SEC
        while True:
            for event in self.events:
                if event["event"] == "DEVICE_DELETED" and event["data"].get("device") == device:
                    self.events.remove(event)
                    return
            message = self._message(deadline - time.monotonic())
            if message is None:
                raise Failed(f"the guest did not let go of {device}")
            self.events.append(message)

    def plug(self, name: str, image: pathlib.Path, driver: str, bytes_per_second: int = 0, bad_sector: int = 0,
             **device) -> None:
        """Docks the image, read-only; `bytes_per_second` makes a slow drive of it, `bad_sector` one that has aged."""
        drive = {"driver": "raw", "node-name": name, "read-only": True,
                 "file": {"driver": "file", "filename": str(image), "read-only": True, "locking": "off"}}
        if bad_sector:
            drive["file"] = {"driver": "blkdebug", "image": drive["file"], "read-only": True,
                             "inject-error": [{"event": "none", "iotype": "read", "errno": 5, "sector": bad_sector,
                                               "once": False}]}
        if bytes_per_second:
            self.qmp("object-add", **{"qom-type": "throttle-group", "id": f"{name}-pace",
                                      "limits": {"bps-read": bytes_per_second}})
            drive = {"driver": "throttle", "node-name": name, "throttle-group": f"{name}-pace", "read-only": True,
                     "file": {**drive, "node-name": f"{name}-raw"}}
        self.qmp("blockdev-add", **drive)
        self.qmp("device_add", driver=driver, id=f"{name}-device", drive=name, **device)

    def pull(self, name: str) -> None:
        """Pulls a drive that plug() docked, and waits until it is out."""
        self.qmp("device_del", id=f"{name}-device")
        self._wait_deleted(f"{name}-device")
        self.qmp("blockdev-del", **{"node-name": name})
        if any(o["name"] == f"{name}-pace" for o in self.qmp("qom-list", path="/objects")):
            self.qmp("object-del", id=f"{name}-pace")
