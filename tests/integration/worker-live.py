#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-worker on whole BitLocker drives against the emulator: what arrives, what logs say, how runs end.

Usage: worker-live.py WORKER MAKE_VOLUME PRELOAD [--drives | --ends] [--soak] [PART...]
--drives: what is on drives; --ends: how runs end and go on. Skips with 77 where the emulator cannot be had.
BERTH_SEED repeats a run. What arrives is read with the official client and compared byte for byte.
"""
import base64
import ctypes
import errno
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing, free_port, make_client_certificate  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from manifest import MIB, blob, block_list, manifest, md5_hex, page_list, sidecar  # noqa: E402
from stage import DRIVE_ID, Drive, Stage, check_copied, copy_drive, expect_refused, md5  # noqa: E402
from worker import BANDWIDTH, CREDENTIAL, PROGRESS, SANDBOX, STOP, Worker  # noqa: E402

# --- everything at once ---

METADATA = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Metadata>\n<project>willow</project>\n</Metadata>\n"
PROPERTIES = (b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Properties>\n<Content-Type>text/plain</Content-Type>\n"
              b"<Content-Language>de</Content-Language>\n</Properties>\n")
NAMES = ["sub dir/a b.bin", "100%.bin", "what?.bin", "hash#.bin", "\u00fcml\u00e4ut.bin", "plus+and&.bin"]


def make_everything(stage: Stage) -> Drive:
    dice = random.Random(5)
    files = {f"n{i}.bin": dice.randbytes(1000 + i) for i in range(len(NAMES))}
    files |= {f"d{i}.bin": dice.randbytes(5000 + i) for i in range(4)}
    files |= {"empty.bin": b"", "blocks.bin": dice.randbytes(9 * MIB + 77), "equal.bin": bytes(9 * MIB),
              "disk.vhd": bytes(MIB) + dice.randbytes(MIB) + bytes(2 * MIB) + dice.randbytes(512),
              "all.properties.xml": PROPERTIES, "one.metadata.xml": METADATA}
    first = "".join(blob(f"all/{name}", f"\\n{i}.bin", files[f"n{i}.bin"]) for i, name in enumerate(NAMES))
    first += blob("all/empty.bin", "\\empty.bin", b"")
    first += blob("all/blocks.bin", "\\blocks.bin", files["blocks.bin"],
                  more=sidecar("Metadata", "\\one.metadata.xml", METADATA))
    first += blob("all/equal.bin", "\\equal.bin", files["equal.bin"], ranges=block_list(files["equal.bin"], ids=False))
    first += blob("all/disk.vhd", "\\disk.vhd", files["disk.vhd"], ranges=page_list(files["disk.vhd"]))
    second = "".join(blob(f"all/old{i}.bin", f"\\d{i}.bin", files[f"d{i}.bin"], disposition)
                     for i, disposition in enumerate(["rename", "no-overwrite", "overwrite"]))
    second += blob("$root/root.bin", "\\d3.bin", files["d3.bin"], "overwrite")
    listed = sidecar("Properties", "\\all.properties.xml", PROPERTIES) + second
    return stage.drive(files, manifest(DRIVE_ID, first, listed), 128)


def check_everything(stage: Stage, drive: Drive) -> None:
    found, files = stage.blobs("all"), drive.files
    want = {name: md5(files[f"n{i}.bin"]) for i, name in enumerate(NAMES)}
    want |= {name: md5(files[name]) for name in ["empty.bin", "blocks.bin", "equal.bin", "disk.vhd"]}
    want |= {f"old{i}.bin": md5(b"old") for i in range(2)}
    want |= {"old0 (2).bin": md5(files["d0.bin"]), "old2.bin": md5(files["d2.bin"])}
    assert {name: b["hash"] for name, b in found.items()} == want
    assert found["disk.vhd"]["type"] == "PageBlob" and found["blocks.bin"]["type"] == "BlockBlob"
    assert found["blocks.bin"]["metadata"] == {"project": "willow"}, found["blocks.bin"]
    for name in ("old0 (2).bin", "old2.bin"):
        assert (found[name]["content"], found[name]["language"]) == ("text/plain", "de"), found[name]
    assert stage.blobs("$root")["root.bin"]["hash"] == md5(files["d3.bin"])


def check_logs(stage: Stage, drive: Drive, worker: Worker) -> None:
    result = worker.result
    assert result["error_log"] == "waimportexport/waies/job_1_QX7TESTDRV01_20311225-212000-000_error.xml", result
    assert stage.text(result["manifest"]) == drive.xml
    errors, verbose = stage.log(result["error_log"]), stage.log(result["verbose_log"])
    assert errors.findtext("Status") == verbose.findtext("Status") == "CompletedWithWarnings"
    assert errors.findtext("DriveId") == DRIVE_ID
    noted = {b.findtext("BlobPath"): b.find("ImportDisposition").get("Status") for b in errors.findall("Blob")}
    assert noted == {"all/old0 (2).bin": "Renamed", "all/old1.bin": "Skipped", "all/old2.bin": "Overwritten"}, noted
    by_path = {b.findtext("BlobPath"): b for b in verbose.findall("Blob")}
    assert len(by_path) == len(NAMES) + 8 and all(b.get("Status") == "Completed" for b in by_path.values())
    blocks = by_path["all/blocks.bin"].findall("BlockList/Block")
    assert [(b.get("Offset"), b.get("Length"), b.get("Status")) for b in blocks] == [
        ("0", str(4 * MIB), "Completed"), (str(4 * MIB), str(4 * MIB), "Completed"),
        (str(8 * MIB), str(MIB + 77), "Completed")]
    data = drive.files["blocks.bin"]
    assert blocks[2].get("Hash") == md5_hex(data[8 * MIB:]) and blocks[2].get("Id").startswith("MD5/")
    meta = by_path["all/blocks.bin"].find("Metadata")
    assert meta.get("Status") == "Completed" and meta.find("Path").get("Hash") == md5_hex(METADATA)
    assert by_path["all/old2.bin"].find("Properties/GlobalPath").text == "\\all.properties.xml"
    pages = by_path["all/disk.vhd"].findall("PageRangeList/PageRange")
    assert [p.get("Offset") for p in pages] == [str(MIB), str(4 * MIB)]


def everything(stage: Stage) -> None:
    print("--- all kinds of blobs and dispositions, sidecars, logs; a second run sends nothing", flush=True)
    stage.server.client("""const c = service.getContainerClient('all'); await c.createIfNotExists();
        for (const i of [0, 1, 2]) await c.getBlockBlobClient(`old${i}.bin`).upload('old', 3);
        await service.getContainerClient('$root').createIfNotExists(); return null;""")
    drive, state = make_everything(stage), stage.state()
    more = {"verbose_log": True, "manifest_backup": True}
    with drive.image.open("rb") as image:
        header = f"0:1048576:{hashlib.sha512(image.read(MIB)).hexdigest()}"
    worker = stage.run(drive, state, header_hash=header, **more)
    assert not any(n["name"] == "drive-header-differs" for n in worker.notes), worker.notes
    result = worker.result
    assert (result["end"], result["copy_status"]) == ("finished", "CompletedWithWarnings"), result
    assert (result["blobs"], result["completed"], result["failed"]) == (14, 14, 0), result
    assert all(a != b for a, b in zip(worker.activities, worker.activities[1:])), worker.activities
    assert worker.activities[:4] == ["unlocking", "scanning", "reading-manifest", "transferring"], worker.activities
    assert worker.outcomes["all/old0.bin"]["name"] == "old0 (2).bin"
    [level] = worker.of(SANDBOX)
    assert level["no_new_privileges"] and level["no_dumps"] and level["system_calls"] and level["limits"], level
    assert bool(level["files"]) == (level["landlock_abi"] >= 1), level
    assert bool(level["connections"]) == (level["landlock_abi"] >= 4), level
    print(level["sentence"])
    check_everything(stage, drive)
    check_logs(stage, drive, worker)
    before = stage.blobs("all")
    worker = stage.run(drive, state, verify="readback", header_hash="0:512:" + "0" * 32, **more)
    assert any(n["name"] == "drive-header-differs" for n in worker.notes), worker.notes
    assert worker.result["copy_status"] == "CompletedWithWarnings" and worker.result["sent_bytes"] == 0, worker.result
    assert stage.blobs("all") == before
    check_logs(stage, drive, worker)
    print("--- read back, after the containers have gone: they are made again")
    stage.server.client("""await service.getContainerClient('all').delete();
        await service.getContainerClient('$root').delete(); return null;""")
    worker = stage.run(drive, verify="readback")
    assert worker.result["copy_status"] == "Completed" and worker.result["created"] == 14, worker.result
    assert {b["hash"] for b in stage.blobs("all").values()} >= {md5(drive.files[f"d{i}.bin"]) for i in range(3)}


# --- drives that cannot be copied ---

def refused_drives(stage: Stage) -> None:
    print("--- drives that cannot be copied: each its status, and an error log that says so", flush=True)
    data = b"x" * 1000
    drive = stage.drive({"a.bin": data}, manifest(DRIVE_ID, blob("no/a.bin", "\\a.bin", data)))
    zeros = stage.folder / "zeros.img"
    with zeros.open("wb") as f:
        f.truncate(32 * MIB)
    wrong = b"122221-244442-366663-488884-611105-013574-660000-720885"
    expect_refused(stage, drive, "BitLockerKeyInvalid", "wrong-key", bitlocker_key=wrong)
    expect_refused(stage, drive, "BitLockerKeyInvalid", "key-malformed", bitlocker_key=b"9" + wrong[1:])
    expect_refused(stage, drive, "BitLockerNotActivated", "not-bitlocker", image=drive.plain)
    expect_refused(stage, drive, "BitLockerNotActivated", "not-bitlocker", image=zeros)
    expect_refused(stage, drive, "ManifestCorrupted", "hash-mismatch", manifest_hash="0" * 32)
    expect_refused(stage, drive, "ManifestNotFound", "file-unreadable", manifest_path="\\Other.xml")
    expect_refused(stage, drive, "ManifestNameInvalid", "name-invalid", manifest_path="DriveManifest:x")
    expect_refused(stage, drive, "ManifestAccessDenied", "file-unreadable", manifest_path="\\$Extend")
    expect_refused(stage, drive, "ManifestDriveIdMismatch", "value-invalid", drive_id="OTHER")
    broken = stage.drive({"a.bin": data}, b"<DriveManifest Version='2014-11-01'><Drive>")
    expect_refused(stage, broken, "ManifestFormatInvalid", "xml-syntax")
    assert "no" not in stage.server.client(
        "const r = []; for await (const c of service.listContainers()) r.push(c.name); return r;")


def faulty_blobs(stage: Stage) -> None:
    print("--- blobs that cannot be copied: the others are", flush=True)
    dice = random.Random(6)
    files = {name: dice.randbytes(n) for name, n in
             [("good.bin", 3000), ("changed.bin", 9 * MIB), ("short.bin", 700), ("long.bin", 900), ("side.bin", 50)]}
    files["one.metadata.xml"], files["bad.metadata.xml"] = METADATA, b"<Metadata><a/>"
    changed = bytearray(files["changed.bin"])
    changed[5 * MIB] ^= 1
    entries = blob("some/good.bin", "\\good.bin", files["good.bin"])
    entries += blob("some/changed.bin", "\\changed.bin", bytes(changed))
    entries += blob("some/short.bin", "\\short.bin", files["short.bin"] + b"more")
    entries += blob("some/long.bin", "\\long.bin", files["long.bin"][:100])
    entries += blob("some/missing.bin", "\\missing.bin", b"abc")
    entries += blob("some/folder.bin", "\\$Extend", b"abc")
    entries += blob("some/side.bin", "\\side.bin", files["side.bin"],
                    more=sidecar("Metadata", "\\one.metadata.xml", b"other"))
    entries += blob("some/side2.bin", "\\side.bin", files["side.bin"],
                    more=sidecar("Metadata", "\\none.xml", b"other"))
    entries += blob("some/side3.bin", "\\side.bin", files["side.bin"],
                    more=sidecar("Metadata", "\\bad.metadata.xml", files["bad.metadata.xml"]))
    long_name, long_path = "some/" + "\u6f22" * 1024, "".join("\\" + "\u5b57" * 200 for _ in range(100))
    entries += blob(long_name, long_path, b"abc")
    drive = stage.drive(files, manifest(DRIVE_ID, entries))
    worker = stage.run(drive)
    assert worker.result["copy_status"] == "CompletedWithErrors", worker.result
    assert worker.outcomes[long_name]["status"] == "FileNotFound"
    assert worker.outcomes[long_name]["file_path"] == long_path
    status = {path: o["status"] for path, o in worker.outcomes.items() if path != long_name}
    assert status == {
        "some/good.bin": "Completed", "some/long.bin": "Completed", "some/changed.bin": "CompletedWithErrors",
        "some/short.bin": "CompletedWithErrors", "some/missing.bin": "FileNotFound",
        "some/folder.bin": "FileAccessDenied", "some/side.bin": "CompletedWithErrors",
        "some/side2.bin": "CompletedWithErrors", "some/side3.bin": "CompletedWithErrors"}, status
    assert any(n["name"] == "file-longer" for n in worker.notes), worker.notes
    assert worker.outcomes["some/changed.bin"]["offset_bytes"] == 4 * MIB
    found = stage.blobs("some")
    assert set(found) == {"good.bin", "long.bin", "side.bin", "side2.bin", "side3.bin"}, set(found)
    assert found["long.bin"]["hash"] == md5(files["long.bin"][:100]) and not found["side.bin"]["metadata"]
    by_path = {b.findtext("BlobPath"): b for b in stage.log(worker.result["error_log"]).findall("Blob")}
    assert set(by_path) == {long_name, *status} - {"some/good.bin", "some/long.bin"}
    ranges = [(b.get("Offset"), b.get("Status")) for b in by_path["some/changed.bin"].findall("BlockList/Block")]
    assert ranges == [("0", "Uncommitted"), (str(4 * MIB), "Corrupted"), (str(8 * MIB), "Uncommitted")], ranges
    assert by_path["some/short.bin"].find("BlockList/Block").get("Status") == "FileUnexpectedEnd"
    assert by_path["some/missing.bin"].find("ImportDisposition").get("Status") == "Cancelled"
    sides = [by_path[f"some/side{i}.bin"].find("Metadata").get("Status") for i in ("", 2, 3)]
    assert sides == ["Corrupted", "FileNotFound", "XmlReadFailed"], sides


# --- drives that fail, and pulled ones ---

def find_on_disk(drive: Drive, data: bytes) -> int:
    """Where content lies on the volume: the unencrypted copy of the image has it at the same place."""
    plain = drive.plain.read_bytes()
    at = plain.find(data)
    assert at >= 0 and at % 4096 == 0
    return at


def has_io_uring() -> bool:
    """io_uring_setup(2) has the same number everywhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(425, 0, None) >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


def failing_drives(stage: Stage) -> None:
    print("--- bad sectors, a drive that stalls, one that is pulled; the same drive, well again", flush=True)
    files, entries = copy_drive(6, 9 * MIB, "failing")
    drive, state = stage.drive(files, manifest(DRIVE_ID, entries), 128), stage.state()
    at = find_on_disk(drive, files["f2.bin"])
    fault = ["env", f"LD_PRELOAD={stage.preload}", f"BERTH_DRIVE_BYTES={drive.image.stat().st_size}",
             f"BERTH_DRIVE_FROM={at + 5 * MIB}", f"BERTH_DRIVE_TO={at + 5 * MIB + 512}"]
    if not sanitized():  # sanitizers take the place of what is preloaded
        worker = stage.run(drive, state, command=[*fault, "BERTH_DRIVE_FAULT=eio"], no_uring=True)
        assert worker.result["copy_status"] == "CompletedWithErrors" and worker.result["failed"] == 1, worker.result
        outcome = worker.outcomes["failing/f2.bin"]
        assert (outcome["status"], outcome["offset_bytes"]) == ("IOFailed", 4 * MIB), outcome
        entry = stage.log(worker.result["error_log"]).find("Blob")
        ranges = [(b.get("Offset"), b.get("Status")) for b in entry.findall("BlockList/Block")]
        assert ranges == [("0", "Uncommitted"), (str(4 * MIB), "IOFailed"), (str(8 * MIB), "Uncommitted")], ranges
        assert not worker.of(SANDBOX)[0]["uring"], "a ring, though the order says none"
        stage.server.client("await service.getContainerClient('failing').delete(); return null;")
        # Through a ring, where there may be one, the drive is well: what is preloaded fails only pread(2).
        worker = stage.run(drive, command=[*fault, "BERTH_DRIVE_FAULT=eio"])
        with_ring = has_io_uring() and worker.of(SANDBOX)[0]["connections"]
        assert worker.of(SANDBOX)[0]["uring"] == worker.of(SANDBOX)[0]["connections"], worker.of(SANDBOX)
        assert worker.result["copy_status"] == ("Completed" if with_ring else "CompletedWithErrors"), worker.result
        stage.server.client("await service.getContainerClient('failing').delete(); return null;")
        state = stage.state()
        worker = stage.run(drive, state, command=[*fault, "BERTH_DRIVE_FAULT=stall"], no_uring=True, stall_sec=3)
        assert worker.result["end"] == "drive-stalled" and "copy_status" not in worker.result, worker.result
        with stage.worker(drive, state, command=[*fault, "BERTH_DRIVE_FAULT=stall"], no_uring=True) as worker:
            worker.until(lambda w: "transferring" in w.activities)
            worker.until(lambda w: any(p["waiting_disk"] and not p["in_flight"] for p in w.of(PROGRESS)[-1:]))
            begun = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0 and time.monotonic() - begun < 5
            assert worker.result["end"] == "stopped", worker.result
    pulled = stage.folder / "pulled.img"
    subprocess.run(["cp", "--sparse=always", drive.image, pulled], check=True)
    with stage.worker(drive, state, image=pulled, bandwidth_bytes_per_sec=2 * MIB) as worker:
        worker.until(lambda w: w.outcomes or "transferring" in w.activities)
        os.truncate(pulled, 8 * MIB)
        assert worker.wait() == 0
    assert worker.result["end"] == "drive-gone" and "copy_status" not in worker.result, worker.result
    assert worker.result["reason"] == "drive-gone" and worker.result["sentence"], worker.result
    worker = stage.run(drive, state)
    assert worker.result["copy_status"] == "Completed", worker.result
    check_copied(stage, "failing", files)


def bad_places(stage: Stage) -> None:
    print("--- a drive that stalls, or has a bad sector, in the midst of its manifest or of a sidecar file", flush=True)
    if sanitized():
        return  # sanitizers take the place of what is preloaded
    files, entries = copy_drive(3, 1000, "stalled")
    files["side.xml"] = METADATA + b" " * 200000
    entries += blob("stalled/side.bin", "\\f0.bin", files["f0.bin"], more=sidecar("Metadata", "\\side.xml", files["side.xml"]))
    xml = manifest(DRIVE_ID, entries + f"<!--{' ' * 60000}-->\n" * 4)
    drive = stage.drive(files, xml)
    for data, status in (xml, "ReadManifestFailed"), (files["side.xml"], "CompletedWithErrors"):
        at = find_on_disk(drive, data[:65536]) + 131072
        fault = ["env", f"LD_PRELOAD={stage.preload}", f"BERTH_DRIVE_BYTES={drive.image.stat().st_size}",
                 f"BERTH_DRIVE_FROM={at}", f"BERTH_DRIVE_TO={at + 512}", "BERTH_DRIVE_FAULT=stall"]
        with stage.worker(drive, stage.state(), command=fault, no_uring=True, stall_sec=2) as worker:
            assert worker.wait(30) == 0
        assert worker.result["end"] == "drive-stalled" and "copy_status" not in worker.result, worker.result
        print(f"{worker.activities[-1]}: {worker.result['sentence']}")
        worker = stage.run(drive, command=[*fault[:-1], "BERTH_DRIVE_FAULT=eio"], no_uring=True)
        assert (worker.result["end"], worker.result["copy_status"]) == ("finished", status), worker.result
        assert stage.log(worker.result["error_log"]).findtext("Status") == status
    assert (worker.result["completed"], worker.result["failed"]) == (3, 1), worker.result
    [entry] = stage.log(worker.result["error_log"]).findall("Blob")
    assert entry.find("Metadata").get("Status") == "IOFailed", ElementTree.tostring(entry)
    assert stage.blobs("stalled")["side.bin"]["hash"] == md5(files["f0.bin"])


# --- stopping, killing, renewing ---

def stops(stage: Stage) -> None:
    print("--- stopped by SIGTERM, by the station, by its silence: within 5 seconds, and the next run goes on")
    files, entries = copy_drive(60, MIB, "stopped")
    drive, state = stage.drive(files, manifest(DRIVE_ID, entries), 160), stage.state()

    def by_signal(worker: Worker) -> None:
        worker.process.send_signal(signal.SIGTERM)

    def by_message(worker: Worker) -> None:
        worker.send(STOP)

    def by_silence(worker: Worker) -> None:
        worker.socket.shutdown(2)

    done = 0
    for how in (by_signal, by_message, by_silence):
        with stage.worker(drive, state, bandwidth_bytes_per_sec=6 * MIB) as worker:
            worker.until(lambda w: len(w.outcomes) > done + 2)
            begun = time.monotonic()
            how(worker)
            worker.wait(30)
            took = time.monotonic() - begun
        assert took < 5, f"{how.__name__} took {took:.1f} s"
        if how is not by_silence:
            assert worker.result["end"] == "stopped" and "copy_status" not in worker.result, worker.result
        done = max(done, len(worker.outcomes))
        print(f"{how.__name__}: {took:.2f} s, {len(worker.outcomes)} blobs")
    with FaultProxy(stage.server.port) as proxy:
        proxy.add("stall", match="^PUT .*stopped", seconds=60.0, times=-1)
        with stage.worker(drive, state, port=proxy.port) as worker:
            worker.until(lambda w: "waiting-network" in w.activities, 30)
            begun = time.monotonic()
            by_signal(worker)
            worker.wait(30)
            assert time.monotonic() - begun < 5
    worker = stage.run(drive, state)
    assert worker.result["copy_status"] == "Completed" and worker.result["sent_bytes"] < 60 * MIB, worker.result
    print("a station that reads nothing")
    missing = manifest(DRIVE_ID, "".join(blob(f"none/f{i}", f"\\missing{i}", b"x") for i in range(5000)))
    with stage.worker(stage.drive({}, missing), stage.state(), deaf=True) as worker:
        time.sleep(3)
        assert worker.process.poll() is None, "the socket took all reports"
        begun = time.monotonic()
        by_signal(worker)
        worker.wait(30)
        assert time.monotonic() - begun < 5
    check_copied(stage, "stopped", files)


def early_stops(stage: Stage) -> None:
    print("--- stopped by SIGTERM before there is an order, and while a managed identity does not answer", flush=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, subprocess.Popen([stage.program], stdin=theirs) as process:
        select.select([], [], [], 0.5)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        finally:
            process.kill()
    files, entries = copy_drive(1, 1000, "early")
    drive = stage.drive(files, manifest(DRIVE_ID, entries))
    with socket.create_server(("127.0.0.1", 0)) as silent, stage.worker(
            drive, stage.state(), credential_kind="identity", credential=None,
            identity_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}") as worker:
        silent.settimeout(30)
        asking = silent.accept()[0]  # kept: to close it would be an answer
        asking.recv(1)
        begun = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0 and time.monotonic() - begun < 5, f"{time.monotonic() - begun:.1f} s"
        assert worker.result["end"] == "stopped", worker.result
        asking.close()


def kills(stage: Stage, n: int) -> None:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 32)))
    print(f"--- {n} kills with faults on the way; BERTH_SEED={seed}", flush=True)
    dice = random.Random(seed)
    files, entries = copy_drive(80, 300000, "killed")
    drive, state, done = stage.drive(files, manifest(DRIVE_ID, entries)), stage.state(), 0
    # Half of the time the station does not say when it began: then the worker's own record must do.
    begun = {"started_usec": dice.choice([0, int(time.time() * 1e6)])}
    with FaultProxy(stage.server.port) as proxy:
        while done < n:
            proxy.rules.clear()
            for _ in range(6):
                proxy.add(dice.choice(["reset", "lose", "truncate"]), match="killed", skip=dice.randrange(60))
            with stage.worker(drive, state, port=proxy.port, **begun) as worker:
                at = len(proxy.seen) + dice.randrange(1, 60)
                while len(proxy.seen) < at and worker.process.poll() is None:
                    time.sleep(0.002)
                worker.process.kill()
                worker.wait()
            done += worker.result is None
            print(f"kill {done}: {len(proxy.seen)} requests, {len(worker.outcomes)} blobs", flush=True)
            if worker.result:
                check_killed(stage, worker, files)
                stage.server.client("await service.getContainerClient('killed').delete(); return null;")
                state, begun = stage.state(), {"started_usec": dice.choice([0, int(time.time() * 1e6)])}
        proxy.rules.clear()
        check_killed(stage, stage.run(drive, state, port=proxy.port, **begun), files)


def check_killed(stage: Stage, worker: Worker, files: dict) -> None:
    assert worker.result["copy_status"] == "Completed" and worker.result["created"] == 80, worker.result
    check_copied(stage, "killed", files)


def make_twins(stage: Stage, n: int) -> Drive:
    """Pairs of entries with one path and the same content; of every third, both are the same file."""
    dice, files, first, second = random.Random(11), {}, "", ""
    for i in range(n):
        data = dice.randbytes(5 * MIB if i % 8 == 7 else 20000 + i)
        other = f"a{i}.bin" if i % 3 == 0 else f"b{i}.bin"
        files |= {f"a{i}.bin": data, other: data}
        ranges = page_list(data + bytes(-len(data) % 512)) if i % 16 == 15 else ""
        first += blob(f"twins/f{i}.bin", f"\\a{i}.bin", data, ranges=ranges)
        second += blob(f"twins/f{i}.bin", f"\\{other}", data, ranges=ranges)
    return stage.drive(files, manifest(DRIVE_ID, first, second), 160)


def check_twins(stage: Stage, drive: Drive, worker: Worker, n: int) -> None:
    assert worker.result["copy_status"] == "CompletedWithWarnings", worker.result
    assert (worker.result["created"], worker.result["renamed"]) == (n, n), worker.result
    check_copied(stage, "twins", {f"f{i}{end}.bin": drive.files[f"a{i}.bin"] for i in range(n) for end in ("", " (2)")})
    stage.server.client("await service.getContainerClient('twins').delete(); return null;")


def twins(stage: Stage) -> None:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 32)))
    print(f"--- entries with one path and the same content become two blobs, killed or not; BERTH_SEED={seed}", flush=True)
    dice, n = random.Random(seed), 32
    drive, begun = make_twins(stage, n), int((time.time() - 60) * 1e6)
    check_twins(stage, drive, stage.run(drive, started_usec=0), n)
    # The same station goes on, or another one that knows nothing.
    for keeps_state in (True, False):
        state, started = stage.state(), begun if not keeps_state else dice.choice([0, begun])
        with FaultProxy(stage.server.port) as proxy:
            for _ in range(5):
                proxy.rules.clear()
                for _ in range(6):
                    proxy.add(dice.choice(["reset", "lose", "truncate"]), match="twins", skip=dice.randrange(40))
                with stage.worker(drive, state, port=proxy.port, started_usec=started) as worker:
                    at = len(proxy.seen) + dice.randrange(1, 60)
                    while len(proxy.seen) < at and worker.process.poll() is None:
                        time.sleep(0.002)
                    worker.process.kill()
                    worker.wait()
                state = state if keeps_state else stage.state()
        check_twins(stage, drive, stage.run(drive, state, started_usec=started), n)


def other_station(stage: Stage) -> None:
    print("--- killed here, gone on with at another station that knows nothing of it", flush=True)
    files, entries = copy_drive(40, 600000, "moved")
    files["page.html"] = b"<html></html>"
    entries += blob("moved/page.html", "\\page.html", files["page.html"])
    drive, begun = stage.drive(files, manifest(DRIVE_ID, entries)), int((time.time() - 60) * 1e6)
    with stage.worker(drive, stage.state(), bandwidth_bytes_per_sec=8 * MIB, started_usec=begun,
                      guess_content_type=True) as worker:
        worker.until(lambda w: len(w.outcomes) >= 10)
        worker.process.kill()
        worker.wait()
    worker = stage.run(drive, started_usec=begun, verify="service", guess_content_type=True)
    assert worker.result["copy_status"] == "Completed" and worker.result["created"] == 41, worker.result
    assert worker.result["sent_bytes"] < 31 * 600100, worker.result
    check_copied(stage, "moved", files)
    assert stage.blobs("moved")["page.html"]["content"] == "text/html", "the type is guessed by the name"


def secrets_of(stage: Stage, drive: Drive) -> list:
    return [stage.server.key.encode(), drive.key]


def sanitized() -> bool:
    return "address" in os.environ.get("BERTH_SANITIZE", "")


def renewals(stage: Stage) -> None:
    print("--- a refused credential pauses the drive until a new one comes; the cap changes meanwhile", flush=True)
    files, entries = copy_drive(12, 900000, "renewed")
    drive, state = stage.drive(files, manifest(DRIVE_ID, entries)), stage.state()
    with FaultProxy(stage.server.port) as proxy, stage.worker(
            drive, state, port=proxy.port, credential=b"d3Jvbmcga2V5", bandwidth_bytes_per_sec=1000000) as worker:
        # The emulator's own answer to a wrong signature is not the service's.
        proxy.add("status", status=403, code="AuthenticationFailed", times=-1)
        worker.until(lambda w: "paused-credentials" in w.activities)
        worker.until(lambda w: any(p["in_flight"] == 0 for p in w.of(PROGRESS)[-1:]))
        assert not worker.outcomes
        process = pathlib.Path(f"/proc/{worker.process.pid}")
        for file in ("cmdline", "environ"):
            try:
                text = (process / file).read_bytes()
            except PermissionError:  # the process is closed to its own user; that is what is wanted
                continue
            assert not any(secret in text for secret in secrets_of(stage, drive)), file
        proxy.rules.clear()
        status = (process / "status").read_text()
        assert "\nNoNewPrivs:\t1\n" in status and "\nSeccomp:\t2\n" in status, status
        capabilities = re.findall(r"\nCap(Inh|Prm|Eff|Amb):\t(\w+)", status)
        assert len(capabilities) == 4 and not any(int(held, 16) for _, held in capabilities), capabilities
        limits = (process / "limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), limits
        assert not re.search(r"Max data size +unlimited|Max cpu time +unlimited", limits) or sanitized(), limits
        worker.send(CREDENTIAL, (1, stage.server.key.encode()))
        worker.until(lambda w: "paused-credentials" not in w.activities[-1:])
        worker.until(lambda w: w.of(PROGRESS) and w.of(PROGRESS)[-1]["bytes_per_sec"] > 0)
        worker.send(BANDWIDTH, (1, 0))
        assert worker.wait() == 0
    assert worker.result["copy_status"] == "Completed", worker.result
    check_copied(stage, "renewed", files)
    for file in state.iterdir():
        assert not any(secret in file.read_bytes() for secret in secrets_of(stage, drive)), file
    assert not any(s.decode() in json.dumps(worker.reports) for s in secrets_of(stage, drive))


def own_refusals(stage: Stage) -> None:
    print("--- blobs whose credential is refused for ever, while others' is not: their own fault", flush=True)
    files, entries = copy_drive(6, 100000, "signed")
    files["long.bin"] = random.Random(9).randbytes(9 * MIB)
    entries += blob("signed/long.bin", "\\long.bin", files["long.bin"])
    drive, state = stage.drive(files, manifest(DRIVE_ID, entries)), stage.state()
    with FaultProxy(stage.server.port) as proxy:
        for match in ("^PUT .*signed/f2", "^PUT .*signed/long.*comp=block&"):
            proxy.add("status", match=match, status=403, code="AuthenticationFailed", times=-1)
        worker = stage.run(drive, state, port=proxy.port)
        probes = [line for line in proxy.seen if line.startswith("HEAD") and "berth-asks" in line]
    assert probes and "paused-credentials" in worker.activities, worker.activities
    assert worker.result["copy_status"] == "CompletedWithErrors" and worker.result["failed"] == 2, worker.result
    for name in ("signed/f2.bin", "signed/long.bin"):
        outcome = worker.outcomes[name]
        assert (outcome["status"], outcome["reason"]) == ("BlobRequestForbidden", "credentials"), outcome
        assert "AuthenticationFailed" in outcome["sentence"], outcome
    check_copied(stage, "signed", {n: data for n, data in files.items() if n not in ("f2.bin", "long.bin")})
    # Alone on its drive, only the probes tell; once they are refused too, the drive is in a pause.
    with FaultProxy(stage.server.port) as proxy:
        for method in ("PUT", "HEAD"):
            proxy.add("status", match=f"^{method} .*signed", status=403, code="AuthenticationFailed", times=-1)
        with stage.worker(drive, state, port=proxy.port) as worker:
            worker.until(lambda w: sum("berth-asks" in line for line in proxy.seen) >= 4)
            assert worker.activities[-1] == "paused-credentials", worker.activities
            assert not {"signed/f2.bin", "signed/long.bin"} & set(worker.outcomes), worker.outcomes
            proxy.rules.pop()
            worker.until(lambda w: w.result)
            assert worker.result["failed"] == 2, worker.result
    worker = stage.run(drive, state)
    assert worker.result["copy_status"] == "Completed", worker.result
    check_copied(stage, "signed", files)


def names_used_up(stage: Stage) -> None:
    print("--- a blob whose name leaves no room for a number", flush=True)
    name = "n" * 1020 + ".bin"
    files = {"a.bin": b"a" * 100, "b.bin": b"b" * 100}
    drive = stage.drive(files, manifest(DRIVE_ID, blob(f"full/{name}", "\\a.bin", files["a.bin"], "rename") +
                                        blob("full/b.bin", "\\b.bin", files["b.bin"])))
    stage.server.client("""const c = service.getContainerClient('full'); await c.createIfNotExists();
        await c.getBlockBlobClient(args[0]).upload('old', 3); return null;""", name)
    worker = stage.run(drive)
    outcome = worker.outcomes[f"full/{name}"]
    assert (outcome["status"], outcome["disposition"], outcome["reason"]) == ("RenameFailed", "Cancelled", "name-invalid"), \
        outcome
    entry = stage.log(worker.result["error_log"]).find("Blob")
    assert entry.get("Status") == "RenameFailed", entry.attrib
    assert {n: b["hash"] for n, b in stage.blobs("full").items()} == {name: md5(b"old"), "b.bin": md5(files["b.bin"])}


def disk_order(stage: Stage) -> None:
    print("--- files are read as they lie on the disk, whatever the manifest's order", flush=True)
    dice = random.Random(12)
    files = {f"o{i}.bin": dice.randbytes(300000) for i in range(12)}
    names = list(files)
    dice.shuffle(names)
    drive = stage.drive(files, manifest(DRIVE_ID, "".join(blob(f"order/{n}", f"\\{n}", files[n]) for n in names)))
    places = {f"order/{name}": find_on_disk(drive, data) for name, data in files.items()}
    worker = stage.run(drive, blobs_at_once=1)
    assert list(worker.outcomes) == sorted(places, key=places.get), (list(worker.outcomes), places)


def long_log(stage: Stage) -> None:
    print("--- a log too long for one request", flush=True)
    n, folder = 12000, "\\" + "x" * 200
    drive = stage.drive({}, manifest(DRIVE_ID, "".join(
        blob(f"none/{'y' * 400}{i}", f"{folder}\\f{i}", b"x", ranges="<BlockList/>", length=0) for i in range(n))))
    worker = stage.run(drive)
    text = stage.text(worker.result["error_log"])
    paths = [b.findtext("BlobPath") for b in ElementTree.fromstring(text).findall("Blob")]
    assert len(text) > 8 * MIB and worker.result["failed"] == n, (len(text), worker.result)
    assert paths == [f"none/{'y' * 400}{i}" for i in range(n)], f"{len(paths)} of {n} blobs"


CONTAINER_SAS = """
    return sdk.generateBlobSASQueryParameters({ containerName: args[0], expiresOn: new Date(Date.now() + 3600e3),
        permissions: sdk.ContainerSASPermissions.parse('racwdl') }, credential).toString();"""


def manifest_credentials(stage: Stage) -> None:
    print("--- a credential in the manifest, where that is allowed", flush=True)
    files, entries = copy_drive(3, 1000, "brought")
    xml = manifest(DRIVE_ID, entries, credential=f"<StorageAccountKey>{stage.server.key}</StorageAccountKey>")
    drive = stage.drive(files, xml)
    worker = stage.run(drive, credential_kind="none", credential=None, manifest_credentials=True)
    assert worker.result["copy_status"] == "Completed", worker.result
    check_copied(stage, "brought", files)
    assert stage.server.key not in json.dumps(worker.reports)
    sas = stage.server.client(CONTAINER_SAS, "brought")
    token = f"<ContainerSas>brought?{escape(sas)}</ContainerSas>"
    drive = stage.drive(files, manifest(DRIVE_ID, entries, credential=token))
    stage.server.client("for await (const b of service.getContainerClient('brought').listBlobsFlat()) "
                        "await service.getContainerClient('brought').deleteBlob(b.name); return null;")
    worker = stage.run(drive, credential_kind="none", credential=None, manifest_credentials=True)
    assert worker.result["copy_status"] == "Completed", worker.result
    check_copied(stage, "brought", files)
    print("--- where it is not, it is not used, nor shown in the manifest's copy; its container is the only one all the same")
    worker = stage.run(drive, credential_kind="none", credential=None)
    assert worker.result.get("copy_status") != "Completed" and worker.result["sent_bytes"] == 0, worker.result
    worker = stage.run(drive, manifest_backup=True)
    assert stage.text(worker.result["manifest"]) == drive.xml.replace(
        f"brought?{escape(sas)}".encode(), b"*" * len(f"brought?{escape(sas)}")), "the credential is shown"
    entries += blob("elsewhere/f.bin", "\\f0.bin", files["f0.bin"])
    drive = stage.drive(files, manifest(DRIVE_ID, entries, credential=token))
    worker = stage.run(drive)
    assert worker.result["copy_status"] == "ManifestFormatInvalid" and not worker.outcomes, worker.result


def refusals(stage: Stage) -> None:
    print("--- a service that forbids all, and one that is not there", flush=True)
    files, entries = copy_drive(5, 1000, "forbidden")
    drive = stage.drive(files, manifest(DRIVE_ID, entries))
    with FaultProxy(stage.server.port) as proxy:
        proxy.add("status", match="^PUT .*forbidden", status=403, code="AuthorizationPermissionMismatch", times=-1)
        worker = stage.run(drive, port=proxy.port)
    assert worker.result["copy_status"] == "BlobRequestForbidden" and worker.result["failed"] == 5, worker.result
    assert stage.log(worker.result["error_log"]).findtext("Status") == "BlobRequestForbidden"
    # A service that refuses every blob, and then a log, is no network that fails: the run comes to its end.
    with FaultProxy(stage.server.port) as proxy:
        proxy.add("status", match="^PUT .*forbidden", status=409, code="BlobImmutableDueToPolicy", times=-1)
        proxy.add("status", match="^PUT .*_error.xml", status=409, code="BlobImmutableDueToPolicy", times=-1)
        worker = stage.run(drive, port=proxy.port)
    assert worker.result.get("copy_status") == "CompletedWithErrors" and worker.result["failed"] == 5, worker.result
    assert {o["reason"] for o in worker.outcomes.values()} == {"service-refused"}, worker.outcomes
    assert "log-not-uploaded" in [note["name"] for note in worker.notes], worker.notes
    worker = stage.run(drive, port=free_port(), stall_sec=2)
    assert worker.result["end"] == "network-stalled" and "copy_status" not in worker.result, worker.result
    if "--soak" not in sys.argv:  # half a minute
        return
    with FaultProxy(stage.server.port) as proxy:  # it takes what comes, and never answers
        proxy.add("stall", seconds=600.0, times=-1)
        worker = stage.run(drive, port=proxy.port, stall_sec=2)
    assert worker.result["end"] == "network-stalled" and worker.result["sent_bytes"] == 0, worker.result


def encrypted_line(stage: Stage) -> None:
    print("--- over TLS, to a host by name, under an authority of our own; under none, nothing goes", flush=True)
    files, entries = copy_drive(5, 700000, "tls")
    drive = stage.drive(files, manifest(DRIVE_ID, entries))
    plain = stage.server
    with Azurite(tls=True) as server:
        stage.server = server
        try:
            endpoint = f"https://localhost:{server.port}/{server.account}"
            worker = stage.run(drive, endpoint=endpoint, allow_plain=False, ca_file=server.ca_file)
            assert worker.result["copy_status"] == "Completed", worker.result
            check_copied(stage, "tls", files)
            worker = stage.run(drive, endpoint=endpoint, allow_plain=False, stall_sec=2)
            assert worker.result["end"] == "network-stalled" and worker.result["sent_bytes"] == 0, worker.result
            with stage.worker(drive, stage.state(), allow_plain=False) as worker:
                assert worker.wait() == 0 and worker.result["end"] == "failed", worker.result
            roundabout(stage, drive, files)
        finally:
            stage.server = plain


class Tunnel(http.server.ThreadingHTTPServer):
    """A proxy that only connects."""

    def __init__(self):
        self.asked = []
        super().__init__(("127.0.0.1", 0), TunnelHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()


class TunnelHandler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(there, self.connection), daemon=True)
            back.start()
            pump(self.connection, there)
            back.join(10)
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


def pump(source, target) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def roundabout(stage: Stage, drive: Drive, files: dict) -> None:
    print("through a proxy; to another place than the name's, which wants to see a certificate", flush=True)
    server, more = stage.server, {"allow_plain": False, "ca_file": stage.server.ca_file}
    made = make_client_certificate(stage.folder, pathlib.Path(server.ca_file))

    def fresh() -> None:
        server.client("await service.getContainerClient('tls').delete(); return null;")

    fresh()
    with Tunnel() as tunnel:
        worker = stage.run(drive, endpoint=f"https://localhost:{server.port}/{server.account}",
                           proxy=f"http://127.0.0.1:{tunnel.server_port}", **more)
        assert worker.result.get("copy_status") == "Completed", worker.result
        assert set(tunnel.asked) == {f"localhost:{server.port}"}, tunnel.asked
    check_copied(stage, "tls", files)
    fresh()
    inside, outside = ssl.create_default_context(cafile=server.ca_file), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.check_hostname = False
    outside.load_cert_chain(*(pathlib.Path(server.ca_file).with_name(name) for name in ("server.pem", "server.key")))
    outside.verify_mode = ssl.CERT_REQUIRED
    outside.load_verify_locations(server.ca_file)
    with FaultProxy(server.port, outside, inside) as proxy:
        # The name is the certificate's, the port nobody's.
        more |= {"endpoint": f"https://localhost/{server.account}", "connect_to": f"localhost:443:127.0.0.1:{proxy.port}"}
        worker = stage.run(drive, stall_sec=2, **more)
        assert worker.result["end"] == "network-stalled" and not proxy.seen, worker.result
        worker = stage.run(drive, client_cert=str(made / "client.pem"), client_key=str(made / "client.key"),
                           stall_sec=20, **more)
        assert worker.result.get("copy_status") == "Completed" and proxy.seen, worker.result
    check_copied(stage, "tls", files)


class Identity(http.server.ThreadingHTTPServer):
    """The metadata service of a machine: gives one token after the other, the last one again and again."""

    def __init__(self, *tokens):
        self.tokens, self.asked = list(tokens), []
        super().__init__(("127.0.0.1", 0), IdentityHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()


class IdentityHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Metadata")))
        token = self.server.tokens.pop(0) if len(self.server.tokens) > 1 else self.server.tokens[0]
        body = json.dumps({"access_token": token, "expires_on": str(int(time.time()) + 3600)}).encode()
        self.send_response(200 if token else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def access_token(valid: bool) -> str:
    """As the emulator wants one, which looks at everything but the signature."""
    def part(content: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    now = int(time.time())
    return ".".join((part({"typ": "JWT", "alg": "RS256"}), part({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60, "nbf": now - 60, "exp": now + (3600 if valid else -30)}), "c2lnbmF0dXJl"))


def identity(stage: Stage) -> None:
    print("--- a managed identity: tokens from the machine, a better one when the first is refused, none at all", flush=True)
    files, entries = copy_drive(5, 300000, "identity")
    drive, good = stage.drive(files, manifest(DRIVE_ID, entries)), access_token(True)
    plain = stage.server
    with Azurite(tls=True) as server:
        stage.server = server
        more = {"endpoint": f"https://localhost:{server.port}/{server.account}", "allow_plain": False,
                "ca_file": server.ca_file, "credential_kind": "identity", "credential": None}
        try:
            with Identity(access_token(False), good) as given:
                worker = stage.run(drive, identity_endpoint=f"http://127.0.0.1:{given.server_port}",
                                   identity_client="an-id", **more)
                assert worker.result["copy_status"] == "Completed", worker.result
                check_copied(stage, "identity", files)
                # The account has a credential: that the manifest brings none is not worth a line.
                assert "credential-missing" not in [note["name"] for note in worker.notes], worker.notes
                assert len(given.asked) >= 2, given.asked
                assert all("client_id=an-id" in path and header == "true" for path, header in given.asked), given.asked
            with Identity("") as given, stage.worker(
                    drive, stage.state(), identity_endpoint=f"http://127.0.0.1:{given.server_port}", **more) as worker:
                assert worker.wait() == 0
                assert (worker.result["end"], worker.result["reason"]) == ("failed", "credentials"), worker.result
            assert good not in json.dumps(worker.reports)
        finally:
            stage.server = plain


def bad_orders(stage: Stage) -> None:
    print("--- orders that are none", flush=True)
    drive = stage.drive({}, b"<x/>", 64)
    with stage.worker(drive, stage.state(), verify="sometimes") as worker:
        assert worker.wait() == 1 and worker.result is None
    assert b"order.verify is malformed" in worker.output, worker.output
    assert not any(secret in worker.output for secret in secrets_of(stage, drive))
    with stage.worker(drive, stage.state(), credential_kind="guess") as worker:
        assert worker.wait() == 0 and worker.result["end"] == "failed", worker.result
    writable = os.open(drive.image, os.O_RDWR)
    with stage.worker(drive, stage.state(), image=writable) as worker:
        assert worker.wait() == 0 and "read-only" in worker.result["sentence"], worker.result
    os.close(writable)
    assert subprocess.run([stage.program], stdin=subprocess.DEVNULL, capture_output=True).returncode == 2


DRIVES = (everything, refused_drives, faulty_blobs, failing_drives, bad_places, own_refusals, names_used_up,
          long_log, disk_order, manifest_credentials, refusals, encrypted_line, identity, bad_orders)
ENDS = (stops, early_stops, twins, other_station, renewals)


def main() -> None:
    program, make_volume, preload = sys.argv[1:4]
    only = [name for name in sys.argv[4:] if not name.startswith("--")]
    parts = DRIVES if "--drives" in sys.argv else ENDS if "--ends" in sys.argv else DRIVES + ENDS
    try:
        with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-worker-") as folder:
            stage = Stage(program, make_volume, preload, server, pathlib.Path(folder))
            for part in parts:
                if not only or part.__name__ in only:
                    part(stage)
            if "kills" in only or not only and "--drives" not in sys.argv:
                kills(stage, 50 if "--soak" in sys.argv else 5)
    except Missing as reason:
        print(f"SKIP: cannot run here: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
