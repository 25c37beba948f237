#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a customer's folders to blobs: berth-prep import, then berth-worker, then the official client.

Usage: worker-prepared.py WORKER     (skips with 77 where the emulator cannot be had)
Thousands of files of all kinds, three sessions with one disposition each, metadata and properties; every byte in the
account is compared with the source folders.
"""
import hashlib
import pathlib
import random
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from importing import dataset, drive, key_file, prep  # noqa: E402
from worker import Worker  # noqa: E402

SERIAL = "QX7TESTDRV01"
FILES = 1000
READ_ALL = """
    const found = {}, container = service.getContainerClient(args[0]);
    for await (const b of container.listBlobsFlat({ includeMetadata: true })) {
        const data = await container.getBlobClient(b.name).downloadToBuffer();
        const hash = require('crypto').createHash('md5').update(data).digest('hex');
        found[b.name] = [hash, b.properties.blobType, b.properties.contentType, (b.metadata || {}).project || ''];
    }
    return found;"""
NAMES = ["plain", "with blank", "per%20cent", "hash#", "plus+", "amp&lt;", "umlaut-\u00fc", "cjk-\u6f22\u5b57",
         "emoji-\U0001f600", "dots..in..it", "comma,and;", "quote'", "brackets[x](2)", "long-" + "x" * 150]


def make_tree(root: pathlib.Path, dice: random.Random) -> dict:
    """Relative name -> content."""
    files = {}
    for i in range(FILES):
        folder = "/".join(f"{dice.choice(NAMES)}" for _ in range(dice.randrange(4)))
        size = dice.choice([0, 1, 100, 511, 512, 700, 4095, 4096, 4097, 20000, 65536])
        name = f"{dice.choice(NAMES)}-{i}" + dice.choice(["", ".txt", ".bin", ".tar.gz", ".vhd" if size % 512 == 0 else ""])
        files[f"{folder}/{name}".lstrip("/")] = dice.randbytes(size)
    files["big/eleven.bin"] = dice.randbytes((11 << 20) + 13)
    files["big/exact.bin"] = dice.randbytes(8 << 20)
    files["big/disk.vhd"] = bytes(3 << 20) + dice.randbytes(1 << 20) + bytes(2 << 20) + dice.randbytes(512)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def prepare(folder: pathlib.Path, parts: list) -> tuple[pathlib.Path, str]:
    """One session on one drive from several rows. Returns its image and the journal's text."""
    image, journal = drive(folder, SERIAL, 512), folder / "job.jrn"
    (folder / "meta.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<Metadata>\n<project>willow</project>\n'
                                     "</Metadata>\n")
    (folder / "properties.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<Properties>\n'
                                           "<Content-Type>application/x-berth</Content-Type>\n</Properties>\n")
    rows = [f'"{root}/",{target},,{disposition},{folder / "meta.xml"},{folder / "properties.xml"}'
            for root, target, disposition in parts]
    done = prep("import", "--journal", journal, "--session", "first-1", "--dataset", dataset(folder, *rows),
                "--drive", image, "--format", "--silent")
    assert done.returncode == 0, done.stdout + done.stderr
    key_file(journal, SERIAL)
    return image, journal.read_text()


def renamed(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return f"{stem} (2).{end}" if dot else f"{name} (2)"


def main() -> None:
    dice = random.Random(11)
    with Azurite(memory_mib=2048) as server, tempfile.TemporaryDirectory(prefix="berth-prepared-") as name:
        folder = pathlib.Path(name)
        parts, trees = [], {}
        for disposition in ("rename", "no-overwrite", "overwrite"):
            trees[disposition] = make_tree(folder / disposition, dice)
            parts.append((folder / disposition, f"c-{disposition}/in/", disposition))
        begun = time.monotonic()
        image, journal = prepare(folder, parts)
        print(f"prepared {sum(map(len, trees.values()))} files in {time.monotonic() - begun:.1f} s", flush=True)
        old = {d: sorted(tree)[::50] for d, tree in trees.items()}
        for disposition, names in old.items():
            listed = folder / "names"
            listed.write_text("\n".join(names), encoding="utf-8")
            server.client("""const c = service.getContainerClient(args[0]); await c.createIfNotExists();
                for (const n of require('fs').readFileSync(args[1], 'utf8').split('\\n'))
                    await c.getBlockBlobClient('in/' + n).upload('old', 3);
                return null;""", f"c-{disposition}", str(listed))
        (folder / "state").mkdir()
        begun = time.monotonic()
        with Worker(sys.argv[1], image, folder / "state", job="job-1", drive_id=SERIAL,
                    manifest_path=re.findall("<ManifestFile>(.*?)<", journal)[-1],
                    manifest_hash=re.findall("<ManifestHash>(.*?)<", journal)[-1],
                    bitlocker_key=(folder / f"{SERIAL}.key").read_bytes(), account=server.account,
                    endpoint=server.endpoint, allow_plain=True, credential_kind="key",
                    credential=server.key.encode(), verbose_log=True) as worker:
            assert worker.wait(600) == 0, worker.output.decode()
        result = worker.result
        print(f"copied in {time.monotonic() - begun:.1f} s: {result}", flush=True)
        bad = [o for o in worker.outcomes.values() if o["status"] != "Completed"]
        assert not bad, bad[:5]
        counts = {d: len(names) for d, names in old.items()}
        assert result["copy_status"] == "CompletedWithWarnings" and result["failed"] == 0
        assert (result["renamed"], result["skipped"], result["overwritten"]) == (
            counts["rename"], counts["no-overwrite"], counts["overwrite"]), result
        for disposition, tree in trees.items():
            compare(server.client(READ_ALL, f"c-{disposition}"), disposition, tree, old[disposition])


def compare(found: dict, disposition: str, tree: dict, old: list) -> None:
    kept = hashlib.md5(b"old").hexdigest()
    want = {}
    for name, data in tree.items():
        new = [hashlib.md5(data).hexdigest(), "PageBlob" if name.endswith(".vhd") else "BlockBlob",
               "application/x-berth", "willow"]
        if name not in old or disposition == "overwrite":
            want["in/" + name] = new
        elif disposition == "rename":
            want["in/" + renamed(name)] = new
    found = {name: value if value[0] != kept else [kept] for name, value in found.items()}
    if disposition != "overwrite":
        want |= {"in/" + name: [kept] for name in old}
    wrong = sorted(n for n in want.keys() | found.keys() if want.get(n) != found.get(n))
    assert not wrong, f"{disposition}: {len(wrong)} wrong: {[(n, want.get(n), found.get(n)) for n in wrong[:5]]}"
    print(f"{disposition}: {len(found)} blobs are right", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Missing as reason:
        print(f"SKIP: cannot run here: {reason}")
        sys.exit(77)
