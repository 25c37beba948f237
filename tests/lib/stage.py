# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-worker on whole BitLocker drives against the emulator: what every such test needs.

    with Azurite() as server:
        stage = Stage(WORKER, MAKE_VOLUME, PRELOAD, server, folder)
        drive = stage.drive({"a.bin": data}, manifest(DRIVE_ID, blob("c/a.bin", "\\\\a.bin", data)))
        worker = stage.run(drive)                    # worker.result, worker.outcomes, … (worker.py)
        stage.blobs("c")                             # as the official client reads them
"""
import base64
import hashlib
import pathlib
import random
import subprocess
import xml.etree.ElementTree as ElementTree

from azurite import Azurite, Missing
from manifest import blob, md5_hex
from worker import Worker

DRIVE_ID = "QX7TESTDRV01"
READ_ALL = """
    const found = {}, container = service.getContainerClient(args[0]);
    for await (const b of container.listBlobsFlat({ includeMetadata: true })) {
        const data = await container.getBlobClient(b.name).downloadToBuffer();
        const hash = require('crypto').createHash('md5').update(data).digest('hex');
        found[b.name] = { hash, type: b.properties.blobType, content: b.properties.contentType,
                          language: b.properties.contentLanguage, metadata: b.metadata || {} };
    }
    return found;"""
READ_TEXT = """
    const slash = args[0].indexOf('/');
    const b = service.getContainerClient(args[0].slice(0, slash)).getBlobClient(args[0].slice(slash + 1));
    return (await b.downloadToBuffer()).toString('base64');"""


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Drive:
    """Files, a manifest, and the encrypted image of both. Those of `packed` are compressed by NTFS, in \\packed;
    `over` takes the place of the volume's first bytes."""

    def __init__(self, folder: pathlib.Path, make_volume: str, files: dict, xml: bytes, mib: int = 96,
                 packed: dict | None = None, over: bytes | None = None):
        folder.mkdir()
        self.image, self.files, self.xml = folder / "drive.img", files, xml
        for name, data in {**files, "DriveManifest.xml": xml}.items():
            (folder / name).write_bytes(data)
        names = [folder / name for name in [*files, "DriveManifest.xml"]]
        more = {f"packed:{name}": data for name, data in (packed or {}).items()}
        more |= {} if over is None else {"over:begin": over.ljust(8192, b"\0")}
        for name, data in more.items():
            (folder / name.split(":")[1]).write_bytes(data)
        made = subprocess.run([make_volume, self.image, str(mib), "xts-128", "512", "4096", *names,
                               *(name.replace(":", f":{folder}/") for name in more)])
        if made.returncode == 77:
            raise Missing("ntfs-3g over FUSE")
        made.check_returncode()
        self.key = pathlib.Path(f"{self.image}.recovery").read_bytes()
        self.plain = pathlib.Path(f"{self.image}.plain")
        for name in names:
            name.unlink()


class Stage:
    """What all runs of a test share."""

    def __init__(self, program: str, make_volume: str, preload: str, server: Azurite, folder: pathlib.Path):
        self.program, self.make_volume, self.preload = program, make_volume, preload
        self.server, self.folder, self.n = server, folder, 0

    def drive(self, files: dict, xml: bytes, mib: int = 96, **more) -> Drive:
        self.n += 1
        return Drive(self.folder / f"drive-{self.n}", self.make_volume, files, xml, mib, **more)

    def state(self) -> pathlib.Path:
        self.n += 1
        state = self.folder / f"state-{self.n}"
        state.mkdir()
        return state

    def order(self, drive: Drive, port: int = 0, **more) -> dict:
        return {"job": "job_1", "drive_id": DRIVE_ID, "manifest_path": "\\DriveManifest.xml",
                "manifest_hash": md5_hex(drive.xml), "bitlocker_key": drive.key, "account": self.server.account,
                "endpoint": f"http://127.0.0.1:{port or self.server.port}/{self.server.account}",
                "allow_plain": True, "credential_kind": "key", "credential": self.server.key.encode(),
                "started_usec": 1956000000000000, **more}

    def worker(self, drive: Drive, state, image=None, port: int = 0, command=(), **more) -> Worker:
        return Worker(self.program, image or drive.image, state, command, **self.order(drive, port, **more))

    def run(self, drive: Drive, state=None, **more) -> Worker:
        with self.worker(drive, state or self.state(), **more) as worker:
            assert worker.wait() == 0, worker.output.decode()
        assert worker.output == b"", worker.output.decode()
        return worker

    def blobs(self, container: str) -> dict:
        return self.server.client(READ_ALL, container)

    def text(self, path: str) -> bytes:
        return base64.b64decode(self.server.client(READ_TEXT, path))

    def log(self, path: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.text(path))


def expect_refused(stage: Stage, drive: Drive, status: str, reason: str, **more) -> None:
    worker = stage.run(drive, **more)
    result = worker.result
    assert (result["end"], result.get("copy_status")) == ("finished", status), result
    assert result.get("reason") == reason and result["sentence"] and result["advice"], result
    log = stage.log(result["error_log"])
    assert log.findtext("Status") == status and not log.findall("Blob"), ElementTree.tostring(log)
    print(f"{status}: {result['sentence']}")


def copy_drive(n: int, size: int, container: str) -> tuple[dict, str]:
    dice = random.Random(n)
    files = {f"f{i}.bin": dice.randbytes(size + i) for i in range(n)}
    return files, "".join(blob(f"{container}/{name}", f"\\{name}", data) for name, data in files.items())


def check_copied(stage: Stage, container: str, files: dict) -> None:
    found = {name: b["hash"] for name, b in stage.blobs(container).items()}
    assert found == {name: md5(data) for name, data in files.items()}, f"{container}: {len(found)} of {len(files)}"
