#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-worker takes as little memory for one huge file as for very many: resident below 256 MiB, with the largest
budget that a station gives a drive (DMN_MEMORY_MAX_BYTES, daemon/share.h).

Usage: worker-memory.py WORKER MAKE_VOLUME SINK_SERVER [--soak]
A service that discards takes what comes. Without --soak the huge file has 2 GiB and the many are 50,000;
with it 8 GiB and 200,000.
"""
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from manifest import manifest, md5_hex  # noqa: E402
from worker import Worker  # noqa: E402

LIMIT_MIB = 256
SHARE = pathlib.Path(__file__).resolve().parents[2] / "daemon/share.h"
BUDGET = int(re.search(r"DMN_MEMORY_MAX_BYTES\W+UINT64_C\((\d+)\) << 20", SHARE.read_text()).group(1)) << 20
DRIVE_ID = "QX7TESTDRV01"
KEY = b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Sink:
    def __init__(self, program: str):
        self.program = program

    def __enter__(self) -> "Sink":
        self.process = subprocess.Popen([self.program], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        print("sink:", self.process.communicate()[0].strip())


def many_content(i: int) -> bytes:
    return f"file {i}\n".encode() * (400 if i % 8 == 0 else 20)


def many_manifest(count: int) -> tuple[bytes, int]:
    entries, total = [], 0
    for i in range(count):
        data = many_content(i)
        total += len(data)
        entries.append(
            f"<Blob><BlobPath>many/{i // 1000:03}/f{i}</BlobPath><FilePath>\\bulk\\{i // 1000:03}\\f{i}</FilePath>"
            f"<Length>{len(data)}</Length><ImportDisposition>overwrite</ImportDisposition><BlockList>"
            f'<Block Offset="0" Length="{len(data)}" Hash="{hashlib.md5(data).hexdigest().upper()}"/></BlockList></Blob>\n')
    return manifest(DRIVE_ID, "".join(entries)), total


def large_manifest(size: int) -> bytes:
    # What the file holds is noise that nobody knows: no ranges, so the worker cuts and hashes it itself.
    return manifest(DRIVE_ID, f"<Blob><BlobPath>large/big.bin</BlobPath><FilePath>\\big.bin</FilePath>"
                              f"<Length>{size}</Length><ImportDisposition>overwrite</ImportDisposition></Blob>")


class Peak:
    """The largest resident size of a process, looked at until it is gone."""

    def __init__(self, pid: int):
        self.kib, self.path = 0, pathlib.Path(f"/proc/{pid}/status")
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while True:
            try:
                lines = self.path.read_text().splitlines()
            except OSError:
                return
            found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
            if not found:
                return
            self.kib = max(self.kib, found[0])
            time.sleep(0.01)


def run(program: str, sink: Sink, folder: pathlib.Path, image: pathlib.Path, xml: bytes, what: str, total: int) -> None:
    state = folder / f"state-{what}"
    state.mkdir()
    begun = time.monotonic()
    with Worker(program, image, state, job="j", drive_id=DRIVE_ID, manifest_path="\\DriveManifest.xml",
                manifest_hash=md5_hex(xml), bitlocker_key=pathlib.Path(f"{image}.recovery").read_bytes(),
                account="devstoreaccount1", endpoint=f"http://127.0.0.1:{sink.port}/devstoreaccount1",
                allow_plain=True, credential_kind="key", credential=KEY, without_range_list=True,
                memory_bytes=BUDGET) as worker:
        peak = Peak(worker.process.pid)
        assert worker.wait(900) == 0, worker.output.decode()
    result = worker.result
    print(f"{what}: {peak.kib / 1024:.0f} MiB resident, {total / 1e9:.2f} GB in {time.monotonic() - begun:.1f} s, "
          f"budget peak {max((p['budget_taken_bytes'] for p in worker.of(18)), default=0) >> 20} MiB", flush=True)
    assert result["copy_status"] == "Completed" and result["sent_bytes"] == total, result
    assert 0 < peak.kib < LIMIT_MIB * 1024, f"{what}: {peak.kib / 1024:.0f} MiB"


def main() -> None:
    program, make_volume, sink_server = sys.argv[1:4]
    soak = "--soak" in sys.argv
    count, size = (200_000, 8 << 30) if soak else (50_000, 2 << 30)
    with tempfile.TemporaryDirectory(prefix="berth-memory-") as name, Sink(sink_server) as sink:
        folder = pathlib.Path(name)
        for what, (xml, total), made, mib in (
                ("many", many_manifest(count), f"many:{count}", 512 + count // 100),
                ("large", (large_manifest(size), size), f"large:big.bin:{size}", 512 + (size >> 20))):
            (folder / "DriveManifest.xml").write_bytes(xml)
            image = folder / f"{what}.img"
            subprocess.run([make_volume, image, str(mib), "xts-128", "512", "4096", made,
                            folder / "DriveManifest.xml"], check=True)
            pathlib.Path(f"{image}.plain").unlink()
            run(program, sink, folder, image, xml, what, total)
            image.unlink()


if __name__ == "__main__":
    main()
