#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep repair-import: copy logs of three generations, originals that are there, moved, changed or doubled."""
import csv
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.environ["BERTH_SOURCE"], "tests", "lib"))
import azurite  # noqa: E402
import importing  # noqa: E402

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
METADATA = b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata>\n<project>willow</project>\n</Metadata>\n'
BIG = random.Random(8).randbytes(9_000_001)
PAGES = bytes(8192) + b"A" * 512 + bytes(5 << 20) + b"B" * 1024
READ_ALL = """
const found = {};
for await (const c of service.listContainers()) for await (const b of service.getContainerClient(c.name).listBlobsFlat()) {
  const blob = service.getContainerClient(c.name).getBlobClient(b.name);
  const properties = await blob.getProperties();
  found[c.name + '/' + b.name] = {type: properties.blobType, metadata: properties.metadata,
    md5: require('crypto').createHash('md5').update(await blob.downloadToBuffer()).digest('hex')};
}
return found;
"""


def md5(data):
    return hashlib.md5(data).hexdigest().upper()


def run(*arguments):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def entry(status, blob, path, data, ranges="<BlockList/>", disposition="rename", was="Cancelled", extra=""):
    return (f'<Blob Status="{status}"><BlobPath>{blob}</BlobPath><FilePath>{path}</FilePath><Length>{len(data)}</Length>'
            f'<ImportDisposition Status="{was}">{disposition}</ImportDisposition>{ranges}{extra}</Blob>\n')


class Repair(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-repair-")
        self.folder = pathlib.Path(self.temporary.name)
        self.originals = self.folder / "originals"
        self.file("originals/notes/a.txt", b"hello")
        self.file("originals/big.bin", BIG)
        self.file("originals/disk/tiny.vhd", PAGES)
        self.file("originals/all.metadata.xml", METADATA)
        self.out = self.folder / "again.csv"
        self.map = self.folder / "map"

    def tearDown(self):
        self.temporary.cleanup()

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def log(self, *entries, name="log.xml"):
        return self.file(name, ('<?xml version="1.0" encoding="utf-8"?>\n<DriveLog Version="2014-11-01"><DriveId>D</DriveId>\n'
                                + "".join(entries) + "<Status>CompletedWithErrors</Status></DriveLog>").encode())

    def whole_log(self):
        block = f'<BlockList><Block Offset="4194304" Length="4194304" Hash="{md5(BIG[4 << 20:8 << 20])}" Status="Corrupted"/></BlockList>'
        pages = f'<PageRangeList><PageRange Offset="8192" Length="512" Hash="{md5(b"A" * 512)}" Status="IOFailed"/></PageRangeList>'
        side = f'<Metadata Status="Completed"><Path Hash="{md5(METADATA)}">\\s7\\all.metadata.xml</Path></Metadata>'
        return self.log(
            entry("FileNotFound", "attic/notes/a.txt", "\\s7\\notes\\a.txt", b"hello", extra=side),
            entry("CompletedWithErrors", "attic/big.bin", "\\s7\\big.bin", BIG, block, was="Created"),
            entry("IOFailed", "attic/tiny.vhd", "\\s7\\disk\\tiny.vhd", PAGES, pages, "no-overwrite"),
            entry("Completed", "attic/fine", "\\s7\\fine", b"x", was="Renamed"))

    def repair(self, *arguments):
        done = run("repair-import", *arguments, "--json")
        report = json.loads(done.stdout)
        return done.returncode, report, [f["name"] for f in report.get("findings", [])], done

    def rows(self):
        with open(self.out, newline="") as f:
            return {row["DstBlobPathOrPrefix"]: row for row in csv.DictReader(f)}

    def test_dataset(self):
        code, report, names, done = self.repair(self.whole_log(), "--source-dir", self.originals, "--dataset", self.out)
        self.assertEqual((code, names, report["failed"], report["repaired"]), (0, [], 3, 3), done.stderr)
        rows = self.rows()
        self.assertEqual(set(rows), {"attic/notes/a.txt", "attic/big.bin", "attic/tiny.vhd"})
        self.assertEqual(rows["attic/notes/a.txt"]["BasePath"], str(self.originals / "notes/a.txt"))
        self.assertEqual(rows["attic/notes/a.txt"]["MetadataFile"], str(self.originals / "all.metadata.xml"))
        self.assertEqual({name: (row["BlobType"], row["Disposition"]) for name, row in rows.items()},
                         {"attic/notes/a.txt": ("BlockBlob", "rename"), "attic/big.bin": ("BlockBlob", "overwrite"),
                          "attic/tiny.vhd": ("PageBlob", "no-overwrite")})

    def test_dry_run_writes_nothing(self):
        code, _, _, _ = self.repair(self.whole_log(), "--source-dir", self.originals, "--dataset", self.out, "--dry-run")
        self.assertEqual((code, self.out.exists()), (0, False))

    def test_changed_originals(self):
        changed = bytearray(BIG)
        changed[5 << 20] ^= 1
        self.file("originals/big.bin", bytes(changed))
        self.file("originals/notes/a.txt", b"hello!")
        code, report, names, _ = self.repair(self.whole_log(), "--source-dir", self.originals, "--dataset", self.out)
        self.assertEqual((code, names, report["repaired"]), (1, ["original-changed"] * 2, 1))
        self.assertEqual(set(self.rows()), {"attic/tiny.vhd"})

    def test_path_map(self):
        self.file("second/notes/a.txt", b"hello")
        (self.originals / "big.bin").rename(self.folder / "moved")
        arguments = [self.whole_log(), "--source-dir", self.originals, "--source-dir", self.folder / "second",
                     "--dataset", self.out, "--path-map", self.map]
        code, _, names, _ = self.repair(*arguments)
        self.assertEqual((code, sorted(names)), (1, ["original-ambiguous", "original-missing"]))
        self.assertEqual(self.map.read_text(), "\\s7\\notes\\a.txt\n\\s7\\big.bin\n")
        self.map.write_text(f"\\s7\\notes\\a.txt\t{self.originals}/notes/a.txt\n\\s7\\big.bin\n")
        code, _, names, _ = self.repair(*arguments)
        self.assertEqual((code, names), (1, ["original-missing"]))
        self.assertIn(f"\\s7\\notes\\a.txt\t{self.originals}/notes/a.txt\n", self.map.read_text())
        self.map.write_text(self.map.read_text().replace("big.bin\n", f"big.bin    {self.folder}/moved\r\n"))
        code, report, names, _ = self.repair(*arguments)
        self.assertEqual((code, names, report["repaired"]), (0, [], 3))
        self.assertEqual(self.rows()["attic/big.bin"]["BasePath"], str(self.folder / "moved"))
        self.map.write_text("\\s7\\big.bin\trelative\n")
        code, report, _, _ = self.repair(*arguments)
        self.assertEqual((code, report["error"]["line"]), (3, 1))

    def test_no_way_out_of_the_folder(self):
        self.file("secret", b"hello")
        log = self.log(entry("FileNotFound", "attic/x", "\\s7\\..\\secret", b"hello"))
        code, _, names, _ = self.repair(log, "--source-dir", self.originals, "--dataset", self.out)
        self.assertEqual((code, names), (1, ["original-missing"]))
        (self.originals / "link").symlink_to(self.folder / "secret")
        log = self.log(entry("FileNotFound", "attic/x", "\\s7\\link", b"hello"))
        self.assertEqual(self.repair(log, "--source-dir", self.originals, "--dataset", self.out)[2], ["original-missing"])
        log = self.log(entry("FileNotFound", "attic/x", "\\a&#10;\\b\t/etc/passwd", b"hello"))
        self.repair(log, "--source-dir", self.originals, "--dataset", self.out, "--path-map", self.map)
        self.assertEqual(self.map.read_text(), "")

    def test_names_that_the_drive_could_not_have(self):
        self.file("originals/notes/what?.txt", b"why")
        log = self.log(entry("Failed", "attic/notes/what?.txt", "\\s7\\notes\\what%3F.txt", b"why"))
        code, _, _, _ = self.repair(log, "--source-dir", self.originals, "--dataset", self.out)
        self.assertEqual((code, self.rows()["attic/notes/what?.txt"]["BasePath"]), (0, str(self.originals / "notes/what?.txt")))

    def test_newer_logs(self):
        fragments = self.file("l3.xml", b"""<ErroredEntity Path="attic\\notes/a.txt"><Category>UploadErrorCloudHttp</Category>
<ErrorCode>400</ErrorCode><ErrorMessage>no</ErrorMessage><Type>File</Type></ErroredEntity><ErroredEntity Path="Old">
<Category>ContainerRenamed</Category><ErrorCode>1</ErrorCode><ErrorMessage>renamed to: x</ErrorMessage><Type>Container</Type>
</ErroredEntity><CopyLog Summary="Summary"><DriveLogVersion>2021-08-01</DriveLogVersion><DriveId>g</DriveId><Status>Failed</Status>
<TotalFiles_Blobs>2</TotalFiles_Blobs><FilesErrored>1</FilesErrored></CopyLog>""")
        older = self.file("l2.xml", f"""<DriveLog Version="2018-10-01"><DriveId>d</DriveId><Blob Status="Corrupted">
<BlobPath>attic/big.bin</BlobPath><OriginalFilePath>\\BlockBlob\\attic\\big.bin</OriginalFilePath><SizeInBytes>{len(BIG)}</SizeInBytes>
</Blob><Status>CompletedWithErrors</Status></DriveLog>""".encode())
        code, report, _, done = self.repair(fragments, older, "--source-dir", self.originals, "--dataset", self.out)
        self.assertEqual((code, report["failed"]), (0, 2), done.stderr)
        self.assertEqual(set(self.rows()), {"attic/notes/a.txt", "attic/big.bin"})

    def test_prepared_again(self):
        """What failed goes onto another drive; that drive is in order, and gives back its files and its journal."""
        self.repair(self.whole_log(), "--source-dir", self.originals, "--dataset", self.out)
        image = importing.drive(self.folder, "SECOND1", 160)
        journal = self.folder / "second.jrn"
        done = run("import", "--journal", journal, "--session", "again", "--dataset", self.out,
                   "--driveset", importing.driveset(self.folder, image), "--yes")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = run("validate", image, "--journal", journal, "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(json.loads(done.stdout)["drives"][0]["blobs"], 3)
        key = ["--recovery-key-file", importing.key_file(journal, "SECOND1")]
        rebuilt, taken = self.folder / "rebuilt.jrn", self.folder / "taken"
        self.assertEqual(run("rebuild-journal", image, "--journal", rebuilt, *key).returncode, 0)
        self.assertEqual(run("validate", image, "--journal", rebuilt).returncode, 0)
        self.assertEqual(run("unlock", image, *key, "--extract", "\\", "--to", taken).returncode, 0)
        manifest = importing.manifest_blobs((taken / "DriveManifest.xml").read_bytes())
        self.assertEqual(set(manifest), {"attic/notes/a.txt", "attic/big.bin", "attic/tiny.vhd"})
        self.assertEqual(manifest["attic/big.bin"]["disposition"], "overwrite")
        for said in manifest.values():
            with open(taken / said["file"][1:].replace("\\", "/"), "rb") as content:
                self.assertIsNone(importing.check_hashes(content, said))

    def test_usage(self):
        log = self.whole_log()
        for words in ([log], [log, "--source-dir", "x"], [log, "--dataset", "x"],
                      [log, "--source-dir", "x", "--dataset", "x", "--account-url", "https://x"],
                      [log, "--source-dir", "x", "--account-url", "https://x"]):
            self.assertEqual(run("repair-import", *words).returncode, 2, words)
        code, report, _, _ = self.repair(self.file("odd", b"<Odd/>"), "--source-dir", "x", "--dataset", self.out)
        self.assertEqual((code, report["error"]["reason"]), (3, "not-a-copy-log"))

    def test_upload(self):
        try:
            azurite.npm_folder()
        except azurite.Missing as e:
            self.skipTest(str(e))
        with azurite.Azurite(tls=True) as server:
            server.client("await service.createContainer('attic');"
                          "await service.getContainerClient('attic').getBlockBlobClient('big.bin').upload('old', 3);")
            key = self.file("key", server.key.encode())
            key.chmod(0o600)
            account = ["--account-url", server.endpoint, "--ca-file", server.ca_file, "--key-file", key,
                       "--source-dir", self.originals, "--repair-file", self.folder / "state"]
            code, report, names, done = self.repair(self.whole_log(), *account)
            self.assertEqual((code, names, report["repaired"]), (0, [], 3), done.stderr)
            self.assertEqual({b["blob"]: b["outcome"] for b in report["blobs"]},
                             {"attic/notes/a.txt": "Created", "attic/big.bin": "Overwritten", "attic/tiny.vhd": "Created"})
            found = server.client(READ_ALL)
            self.assertEqual({name: blob["md5"].upper() for name, blob in found.items()},
                             {"attic/notes/a.txt": md5(b"hello"), "attic/big.bin": md5(BIG), "attic/tiny.vhd": md5(PAGES)})
            self.assertEqual((found["attic/tiny.vhd"]["type"], found["attic/notes/a.txt"]["metadata"]),
                             ("PageBlob", {"project": "willow"}))
            # Again: all is known to be done. With other logs: refused.
            code, report, _, _ = self.repair(self.whole_log(), *account)
            self.assertEqual((code, report["repaired"]), (0, 3))
            self.assertEqual(len(server.client(READ_ALL)), 3)
            code, report, _, _ = self.repair(self.log(entry("Failed", "attic/z", "\\z", b"")), *account, "--path-map", self.map)
            self.assertEqual(code, 3)


if __name__ == "__main__":
    unittest.main()
