#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way: thousands of files of all kinds are put onto a drive by berth-prep, and berth-worker takes them to the
emulator. What arrived is read with the official client and compared with the sources byte for byte.

Usage: prepared-drive.py WORKER        (skips with 77 where the emulator cannot be had)
"""
import base64
import hashlib
import os
import pathlib
import random
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from importing import drive, driveset, prep  # noqa: E402
from worker import Worker  # noqa: E402

SERIAL = "QX7TESTDRV09"
FILES = 3000
MIB = 1 << 20
HOSTILE = ["CON", "nul.txt", "100%.bin", "%41.bin", "what?.bin", "hash#.bin", "\u00fcml\u00e4ut", "\U0001f600" * 20, "a b+c&d.bin", "dots..",
           "dot.", "Case", "case", "x" * 200, "semi;colon=.bin", "{curly}", "tilde~", "quote'.bin", "caf\u00e9", "cafe\u0301"]
EXISTING = ["rename/old1.bin", "rename/old2", "no-overwrite/old1.bin", "overwrite/old1.bin"]
READ = """
    const crypto = require('crypto'), found = {};
    const container = service.getContainerClient(args[0]), work = [];
    for await (const b of container.listBlobsFlat({ includeMetadata: true })) work.push(b);
    async function take() {
        for (let b; (b = work.pop()) !== undefined;) {
            const data = b.properties.contentLength ? await container.getBlobClient(b.name).downloadToBuffer() : Buffer.alloc(0);
            found[b.name] = { hash: crypto.createHash('md5').update(data).digest('hex'), length: data.length,
                              type: b.properties.blobType, content: b.properties.contentType,
                              md5: b.properties.contentMD5 ? Buffer.from(b.properties.contentMD5).toString('base64') : '',
                              metadata: b.metadata || {} };
        }
    }
    await Promise.all([...Array(8)].map(take));
    return found;"""


def plant(folder: pathlib.Path) -> None:
    dice = random.Random(7)
    for row in ("tree", "rename", "no-overwrite", "overwrite"):
        (folder / row).mkdir(parents=True)
    for i in range(FILES):
        path = folder / "tree" / f"d{i % 37}" / f"e{i % 5}" / f"file {i}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.choice((0, 1, 512, 513, 700, 4096, 20_000))))
    (folder / "tree/hostile").mkdir()
    for name in HOSTILE:
        (folder / "tree/hostile" / name).write_bytes(name.encode() * 5)
    (folder / "tree/large.bin").write_bytes(dice.randbytes(41 * MIB + 5))
    (folder / "tree/zeros.bin").write_bytes(bytes(9 * MIB))
    (folder / "tree/equal.bin").write_bytes(dice.randbytes(MIB) * 12)
    (folder / "tree/disk.vhd").write_bytes(bytes(3 * MIB) + dice.randbytes(MIB) + bytes(8 * MIB) + dice.randbytes(512))
    (folder / "tree/empty.vhdx").write_bytes(b"")
    for row in ("rename", "no-overwrite", "overwrite"):
        (folder / row / "old1.bin").write_bytes(dice.randbytes(3000))
        (folder / row / "old2").write_bytes(dice.randbytes(9 * MIB))
    (folder / "metadata.xml").write_text('<?xml version="1.0"?>\n<Metadata>\n<project>willow</project>\n</Metadata>\n')
    (folder / "properties.xml").write_text('<?xml version="1.0"?>\n<Properties>\n<Content-Type>text/berth</Content-Type>\n</Properties>\n')


def prepare(folder: pathlib.Path) -> "tuple[pathlib.Path, pathlib.Path]":
    image, journal = drive(folder, SERIAL, 400), folder / "job.jrn"
    rows = folder / "dataset.csv"
    rows.write_text("BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n"
                    f'"{folder}/tree/",attic/tree/,,,{folder}/metadata.xml,None\n'
                    f'"{folder}/rename/",attic/rename/,,rename,None,None\n'
                    f'"{folder}/no-overwrite/",attic/no-overwrite/,,no-overwrite,None,None\n'
                    f'"{folder}/overwrite/",attic/overwrite/,,overwrite,None,{folder}/properties.xml\n'
                    f"{folder}/tree/large.bin,$root/large,,,None,None\n")
    arguments = ("import", "--journal", journal)
    for session in (("--session", "first", "--dataset", rows, "--driveset", driveset(folder, image)),
                    # Blocks of 32 MiB are never held whole; and every blob knows its own hash.
                    ("--session", "second", "--source-file", folder / "tree/large.bin", "--destination-blob",
                     "attic/second/large.bin", "--block-size", "32MiB", "--content-md5")):
        done = prep(*arguments, *session)
        assert done.returncode == 0, done.stdout + done.stderr
    done = prep("validate", "--journal", journal, image, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return image, journal


def fact(journal: pathlib.Path, name: str) -> str:
    return re.findall(rf"<{name}>([^<]*)</{name}>", journal.read_text())[-1]


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def run_worker(program: str, image, journal, state, server: Azurite, **more) -> Worker:
    state.mkdir(exist_ok=True)
    order = {"job": "job_9", "drive_id": SERIAL, "manifest_path": fact(journal, "ManifestFile"),
             "manifest_hash": fact(journal, "ManifestHash"), "bitlocker_key": fact(journal, "BitLockerKey").encode(),
             "account": server.account, "endpoint": server.endpoint, "allow_plain": True, "credential_kind": "key",
             "credential": server.key.encode(), "verbose_log": True, "manifest_backup": True, **more}
    with Worker(program, image, state, **order) as worker:
        assert worker.wait(600) == 0, worker.output.decode()
    return worker


def expected(folder: pathlib.Path) -> "dict[str, bytes]":
    want = {"tree/" + str(p.relative_to(folder / "tree")): p for p in (folder / "tree").rglob("*") if p.is_file()}
    want |= {"rename/old1.bin": b"old", "rename/old2": b"old", "no-overwrite/old1.bin": b"old",
             "rename/old1 (2).bin": folder / "rename/old1.bin", "rename/old2 (2)": folder / "rename/old2",
             "no-overwrite/old2": folder / "no-overwrite/old2", "overwrite/old1.bin": folder / "overwrite/old1.bin",
             "overwrite/old2": folder / "overwrite/old2", "second/large.bin": folder / "tree/large.bin"}
    return {name: p if isinstance(p, bytes) else p.read_bytes() for name, p in want.items()}


def check(server: Azurite, folder: pathlib.Path) -> dict:
    found, want = server.client(READ, "attic"), expected(folder)
    assert set(found) == set(want), (sorted(set(found) - set(want))[:5], sorted(set(want) - set(found))[:5])
    wrong = [name for name, data in want.items() if found[name]["hash"] != md5(data) or found[name]["length"] != len(data)]
    assert not wrong, wrong[:10]
    pages = {name for name, b in found.items() if b["type"] == "PageBlob"}
    assert pages == {"tree/disk.vhd", "tree/empty.vhdx"}, pages
    for name, b in found.items():
        assert b["metadata"] == ({"project": "willow"} if name.startswith("tree/") else {}), (name, b)
        assert (b["content"] == "text/berth") == name.startswith("overwrite/"), (name, b)
    assert found["second/large.bin"]["md5"] == base64.b64encode(hashlib.md5(want["second/large.bin"]).digest()).decode()
    root = server.client(READ, "$root")
    assert root["large"]["hash"] == md5(want["second/large.bin"]), root
    return found


def main(program: str) -> None:
    with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-prepared-") as name:
        folder = pathlib.Path(name)
        plant(folder)
        image, journal = prepare(folder)
        before = hashlib.sha256(image.read_bytes()).digest()
        server.client("""const c = service.getContainerClient('attic'); await c.createIfNotExists();
            for (const name of args) await c.getBlockBlobClient(name).upload('old', 3); return null;""", *EXISTING)
        worker = run_worker(program, image, journal, folder / "state", server)
        result = worker.result
        assert (result["end"], result["copy_status"], result["failed"]) == ("finished", "CompletedWithWarnings", 0), result
        assert (result["renamed"], result["skipped"], result["overwritten"]) == (2, 1, 1), result
        found = check(server, folder)
        print(f"{result['blobs']} blobs, {result['bytes']} bytes: all as their sources", flush=True)
        # The same order once more, as after a crash of the station: nothing is sent, nothing gets another name.
        worker = run_worker(program, image, journal, folder / "state", server, verify="readback")
        assert (worker.result["end"], worker.result["sent_bytes"]) == ("finished", 0), worker.result
        assert check(server, folder) == found
        assert hashlib.sha256(image.read_bytes()).digest() == before, "the drive was written to"
        print("a second run sends nothing; the drive is as it was")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Missing as e:
        print(f"SKIP: cannot run here: {e}")
        sys.exit(77)
