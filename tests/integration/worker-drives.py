#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-worker, inside its sandbox, on drives that hold something else, and at accounts that are known by name.

Usage: worker-drives.py WORKER MAKE_VOLUME PRELOAD_DRIVE PRELOAD_DNS
Skips with 77 where the emulator cannot be had, or ntfs-3g cannot mount, which the last part needs.
"""
import os
import pathlib
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from manifest import MIB, blob, manifest  # noqa: E402
from stage import DRIVE_ID, Stage, check_copied, copy_drive, expect_refused, md5  # noqa: E402
from worker import SANDBOX  # noqa: E402

A, AAAA = 1, 28
NO_ERROR, SERVER_FAILED, NO_SUCH_NAME = 0, 2, 3


class NameServer:
    """Answers every question for `name` with 127.0.0.1, after it has failed `failures` times."""

    def __init__(self, name: str, failures: int = 0):
        self.name, self.failures, self.asked = name, failures, []

    def __enter__(self) -> "NameServer":
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.socket.sendto(b"", ("127.0.0.1", self.port))

    def _serve(self) -> None:
        with self.socket:
            while True:
                question, asker = self.socket.recvfrom(4096)
                if not question:
                    return
                self.socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack_from(">H", question, at + 1)[0]
        name, code, answers = ".".join(labels), NO_ERROR, b""
        self.asked.append((name, kind))
        if self.failures > 0:
            self.failures -= 1
            code = SERVER_FAILED
        elif name != self.name:
            code = NO_SUCH_NAME
        elif kind == A:
            answers = struct.pack(">HHHIH", 0xc00c, A, 1, 60, 4) + socket.inet_aton("127.0.0.1")
        return (question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, bool(answers), 0, 0) +
                question[12:at + 5] + answers)


def names(stage: Stage, preload_dns: str) -> None:
    print("--- the account's host by its name: of the machine's own list, and of a name server", flush=True)
    files, entries = copy_drive(4, 300000, "named")
    drive, account, port = stage.drive(files, manifest(DRIVE_ID, entries)), stage.server.account, stage.server.port
    worker = stage.run(drive, endpoint=f"http://localhost:{port}/{account}")
    assert worker.result.get("copy_status") == "Completed", worker.result
    check_copied(stage, "named", files)
    [level] = worker.of(SANDBOX)
    if "address" in os.environ.get("BERTH_SANITIZE", ""):
        return  # sanitizers take the place of what is preloaded
    stage.server.client("await service.getContainerClient('named').delete(); return null;")
    # As in the public cloud: the account is the first part of the name.
    name = f"{account}.blob.berth.test"
    with NameServer(name, failures=3) as server:
        command = ["env", f"LD_PRELOAD={preload_dns}", f"BERTH_NAMES_PORT={server.port}"]
        # From inside: nothing else can be opened, no other port connected to.
        command += ["BERTH_NAMES_CLOSED=1"] if level["connections"] else []
        worker = stage.run(drive, endpoint=f"http://{name}:{port}", command=command)
        assert worker.result.get("copy_status") == "Completed", worker.result
        assert (name, A) in server.asked and server.failures == 0, server.asked
        check_copied(stage, "named", files)
        worker = stage.run(drive, endpoint=f"http://{account}.elsewhere.test:{port}", command=command, stall_sec=2)
        assert worker.result["end"] == "network-stalled" and "copy_status" not in worker.result, worker.result
        assert (f"{account}.elsewhere.test", A) in server.asked, server.asked
    print(worker.result["sentence"])


BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
EXFAT = b"\xeb\x76\x90EXFAT   " + bytes(499) + b"\x55\xaa"


def ext4(stage: Stage) -> bytes:
    path = stage.folder / "ext4.img"
    path.touch()
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", path, "8M"], check=True,
                   env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    return path.read_bytes()


def partitioned(stage: Stage, table: str, kinds: list, content: bytes) -> pathlib.Path:
    """A drive with partitions of these types, the content in each."""
    stage.n += 1
    path = stage.folder / f"table-{stage.n}.img"
    with path.open("wb") as f:
        f.truncate(16 * MIB + 16 * MIB * len(kinds))
    lines = "".join(f"start={(1 + 16 * i) * 2048}, size={16 * 2048}, type={kind}\n" for i, kind in enumerate(kinds))
    subprocess.run(["sfdisk", "-q", path], input=f"label: {table}\n{lines}".encode(), check=True,
                   env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    with path.open("r+b") as f:
        for i in range(len(kinds)):
            f.seek((1 + 16 * i) * MIB)
            f.write(content)
    return path


def other_volumes(stage: Stage) -> None:
    print("--- volumes of another kind, encrypted and not, and drives without any", flush=True)
    data = b"x" * 1000
    xml = manifest(DRIVE_ID, blob("no/a.bin", "\\a.bin", data))
    linux = ext4(stage)
    for over in (EXFAT, linux, bytes(8192)):
        expect_refused(stage, stage.drive({"a.bin": data}, xml, over=over), "VolumeNotNtfs", "not-ntfs")
    drive = stage.drive({"a.bin": data}, xml)
    # What could be BitLocker's and is not; and what Windows gives no letter.
    for table, kinds, content, status in [
            ("gpt", [BASIC_DATA], linux, "BitLockerNotActivated"), ("gpt", [BASIC_DATA], b"", "BitLockerNotActivated"),
            ("gpt", ["U", BASIC_DATA], EXFAT, "BitLockerNotActivated"), ("dos", ["7"], EXFAT, "BitLockerNotActivated"),
            ("gpt", ["L"], linux, "BitLockerVolumeNotFound"), ("gpt", ["U", "L"], b"", "BitLockerVolumeNotFound"),
            ("dos", ["83"], linux, "BitLockerVolumeNotFound"), ("dos", ["82"], b"", "BitLockerVolumeNotFound")]:
        reason = {"BitLockerNotActivated": "not-bitlocker", "BitLockerVolumeNotFound": "no-partition"}[status]
        expect_refused(stage, drive, status, reason, image=partitioned(stage, table, kinds, content))


def packed_files(stage: Stage) -> None:
    print("--- files that NTFS has compressed", flush=True)
    dice = random.Random(8)
    lines = b"".join(b"%08d a brown bear sleeps all winter; " % i for i in range(150000))
    files = {"text.bin": lines, "noise.bin": dice.randbytes(150001), "tiny.bin": lines[:100],
             "mixed.bin": b"".join(dice.randbytes(65536) + lines[:65536] for _ in range(70)),
             "hollow.bin": bytes(5 * MIB) + lines[:5000] + bytes(100000)}
    entries = "".join(blob(f"packed/{name}", f"\\packed\\{name}", data) for name, data in files.items())
    drive = stage.drive({}, manifest(DRIVE_ID, entries), packed=files)
    assert drive.plain.read_bytes().find(lines[200000:208192]) < 0, "the text is not compressed on the drive"
    for more in ({}, {"verify": "service"}):
        worker = stage.run(drive, **more)
        assert worker.result.get("copy_status") == "Completed", worker.result
        check_copied(stage, "packed", files)
        stage.server.client("await service.getContainerClient('packed').delete(); return null;")
    worker = stage.run(drive, verify="readback")
    assert worker.result.get("copy_status") == "Completed" and worker.result["created"] == len(files), worker.result
    assert {b["hash"] for b in stage.blobs("packed").values()} == {md5(data) for data in files.values()}


def main() -> None:
    program, make_volume, preload_drive, preload_dns = sys.argv[1:5]
    only = sys.argv[5:]
    try:
        with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-worker-") as folder:
            stage = Stage(program, make_volume, preload_drive, server, pathlib.Path(folder))
            if not only or "names" in only:
                names(stage, preload_dns)
            for part in (other_volumes, packed_files):
                if not only or part.__name__ in only:
                    part(stage)
    except Missing as reason:
        print(f"SKIP: cannot run here: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
