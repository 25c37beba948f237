#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep preview-export and forecast against a live blob server."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.environ["BERTH_SOURCE"], "tests", "lib"))
import azurite  # noqa: E402

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
FILL = """
for (const name of ['attic', 'book', 'bookshelf']) await service.createContainer(name);
const put = async (container, name, n) => {
  const blob = service.getContainerClient(container).getBlockBlobClient(name);
  await blob.upload(Buffer.alloc(n, 'x'), n);
  return blob;
};
await put('attic', 'notes/a.txt', 8);
await put('attic', 'notes/b & c.txt', 5000);
await put('attic', 'notes/\\u00fc.txt', 1);
await put('book', 'draft/1', 100);
await put('book', 'final', 100);
await put('bookshelf', 'x', 100);
for (let i = 0; i < 120; i++) await put('bookshelf', 'many/' + String(i).padStart(3, '0'), 10);
const snapped = await put('attic', 'snapped', 7);
const first = await snapped.createSnapshot();
await snapped.createSnapshot();
const pages = service.getContainerClient('attic').getPageBlobClient('p.vhd');
await pages.create(3 * 1024 * 1024 * 1024);
await put('attic', 'clash.txt', 3);
await put('attic', 'clash (2).txt', 3);
return {snapshot: first.snapshot, sas: sdk.generateAccountSASQueryParameters({
  expiresOn: new Date(Date.now() + 3600e3), permissions: sdk.AccountSASPermissions.parse('rl'), services: 'b',
  resourceTypes: 'sco', protocol: sdk.SASProtocol.HttpsAndHttp}, credential).toString()};
"""


def run(*arguments):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class Account(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="berth-account-")
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.server = azurite.Azurite(tls=True)
        cls.server.__enter__()
        filled = cls.server.client(FILL)
        cls.snapshot = filled["snapshot"]
        cls.key = cls.secret("key", cls.server.key + "\n")
        cls.sas = cls.secret("sas", filled["sas"])
        cls.account = ["--account-url", cls.server.endpoint, "--ca-file", cls.server.ca_file]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        cls.temporary.cleanup()

    @classmethod
    def secret(cls, name, text, mode=0o600):
        path = cls.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def preview(self, entries, *more, size="1TB"):
        path = self.folder / "list.xml"
        path.write_text('<?xml version="1.0"?>\n<BlobList>\n' + "\n".join(entries) + "\n</BlobList>\n")
        done = run("preview-export", "--blob-list", path, "--drive-size", size, *self.account, "--key-file", self.key,
                   "--json", *more)
        report = json.loads(done.stdout)
        self.assertNotIn(self.server.key[:20], done.stdout + done.stderr)
        return done.returncode, report, [f["name"] for f in report.get("findings", [])]

    def exportable(self, entries):
        code, report, names = self.preview(entries)
        self.assertEqual((code, names), (0, []), report)
        return report["blobs"]["exportable"], report["blobs"]["bytes"]

    # ---- preview-export ----

    def test_prefixes(self):
        prefix = "<BlobPathPrefix>{}</BlobPathPrefix>".format
        self.assertEqual(self.exportable([prefix("/attic/notes/")]), (3, 5009))
        self.assertEqual(self.exportable([prefix("/book/")]), (2, 200))
        self.assertEqual(self.exportable([prefix("/book/dra")]), (1, 100))
        self.assertEqual(self.exportable([prefix("/book")]), (2 + 121, 200 + 100 + 1200))
        everything = 3 + 3 + 1 + 2 + 123  # notes, a blob with two snapshots, pages, clashes, books
        self.assertEqual(self.exportable([prefix("/")])[0], everything)

    def test_blobs_and_snapshots(self):
        self.assertEqual(self.exportable(["<BlobPath>attic/snapped</BlobPath>"]), (3, 21))
        self.assertEqual(self.exportable(['<BlobPath IncludeSnapshots="false">attic/snapped</BlobPath>']), (1, 7))
        one = f'<BlobPath SnapshotTime="{self.snapshot}">attic/snapped</BlobPath>'
        self.assertEqual(self.exportable([one]), (1, 7))
        self.assertEqual(self.exportable(["<BlobPath>/attic/notes/b &amp; c.txt</BlobPath>",
                                          "<BlobPath>attic/notes/\u00fc.txt</BlobPath>"]), (2, 5001))

    def test_what_is_wrong_with_a_list(self):
        code, report, names = self.preview(["<BlobPath>attic/none</BlobPath>", "<BlobPath>none/none</BlobPath>",
                                            "<BlobPathPrefix>/zzz</BlobPathPrefix>", "<BlobPath>book/final</BlobPath>",
                                            "<BlobPath>book/final</BlobPath>", "<BlobPathPrefix>/book/</BlobPathPrefix>"])
        self.assertEqual(code, 1)
        self.assertEqual(report["selectors"], {"unique": 5, "duplicate": 1, "missing": 3})
        self.assertEqual((report["blobs"]["exportable"], report["blobs"]["chosenTwice"]), (2, 1))
        self.assertEqual(sorted(names), ["selector-twice"] + ["selects-nothing"] * 3)

    def test_drives(self):
        pages = "<BlobPath>attic/p.vhd</BlobPath>"
        code, report, names = self.preview([pages, "<BlobPath>book/final</BlobPath>"], size="2GB")
        self.assertEqual((code, names, len(report["drives"])), (1, ["blob-too-large"], 1))
        self.assertEqual(report["blobs"]["notExportable"], 1)
        code, report, _ = self.preview([pages, "<BlobPathPrefix>/book/</BlobPathPrefix>"], size="4GB")
        self.assertEqual((code, len(report["drives"])), (0, 1))
        self.assertGreater(report["drives"][0]["usedBytes"], 3 << 30)
        self.assertLess(report["drives"][0]["usedBytes"], (3 << 30) + 200_000)
        done = run("preview-export", "--blob-list", self.folder / "list.xml", "--drive-size", "4GB", *self.account,
                   "--key-file", self.key)
        self.assertIn("drives of 4.0 GB needed: 1", done.stdout)
        self.assertIn("drive 1: 3 blobs, 3.22 GB", done.stdout)

    def test_credentials(self):
        listing = self.folder / "one.xml"
        listing.write_text("<BlobList><BlobPath>book/final</BlobPath></BlobList>")
        base = ["preview-export", "--blob-list", listing, "--drive-size", "1TB", *self.account]
        done = run(*base, "--sas-file", self.sas)
        self.assertEqual(done.returncode, 0, done.stderr)
        wrong = self.secret("wrong", "d3Jvbmc=")
        done = run(*base, "--key-file", wrong, "--json")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(json.loads(done.stdout)["error"]["reason"], "credentials")
        readable = self.secret("readable", "d3Jvbmc=", 0o644)
        self.assertIn("others may read it", run(*base, "--key-file", readable).stderr)
        self.assertEqual(run(*base).returncode, 2)
        self.assertEqual(run(*base, "--key-file", self.key, "--sas-file", self.sas).returncode, 2)
        done = run(*base, "--key-file", self.key, "--account-url", "http://example.invalid/x")
        self.assertIn("does not begin with https", done.stderr)
        done = run("preview-export", "--blob-list", listing, "--drive-size", "10", *self.account, "--key-file", self.key)
        self.assertEqual(done.returncode, 2)

    # ---- forecast ----

    def forecast(self, path, *more):
        done = run("forecast", path, *self.account, "--key-file", self.key, "--json", *more)
        report = json.loads(done.stdout)
        return done.returncode, report.get("counts"), {(b["blob"], b["outcome"], b.get("newName")) for b in report["existing"]}, done

    def dataset(self, rows):
        path = self.folder / "dataset.csv"
        path.write_text("BasePath,DstBlobPathOrPrefix,BlobType,Disposition,MetadataFile,PropertiesFile\n"
                        + "".join(",".join(row) + ",None,None\n" for row in rows))
        return path

    def test_dataset(self):
        tree = self.folder / "tree"
        (tree / "notes").mkdir(parents=True)
        for name in ("clash.txt", "clash (3).txt", "new.txt", "notes/a.txt"):
            (tree / name).write_text("hello")
        file = self.folder / "single"
        file.write_text("x")
        path = self.dataset([(f"{tree}/", "attic/", "BlockBlob", "rename"),
                             (str(file), "book/final", "BlockBlob", "no-overwrite"),
                             (str(file), "bookshelf/x", "BlockBlob", "overwrite"),
                             (str(file), "nowhere/y", "BlockBlob", "overwrite")])
        code, counts, existing, _ = self.forecast(path)
        self.assertEqual(code, 1)
        self.assertEqual(counts, {"Created": 3, "Renamed": 2, "Skipped": 1, "Overwritten": 1})
        self.assertEqual(existing, {("attic/clash.txt", "Renamed", "attic/clash (4).txt"),
                                    ("attic/notes/a.txt", "Renamed", "attic/notes/a (2).txt"),
                                    ("book/final", "Skipped", None), ("bookshelf/x", "Overwritten", None)})

    def test_many_names_are_listed(self):
        tree = self.folder / "many"
        tree.mkdir()
        for i in range(100):
            (tree / f"{i + 60:03}").write_text("x")
        code, counts, existing, _ = self.forecast(self.dataset([(f"{tree}/", "bookshelf/many/", "BlockBlob", "overwrite")]))
        self.assertEqual((code, counts["Created"], counts["Overwritten"]), (1, 40, 60))
        self.assertIn(("bookshelf/many/119", "Overwritten", None), existing)

    def test_manifest(self):
        blob = ("<Blob><BlobPath>{}</BlobPath><FilePath>\\x</FilePath><Length>0</Length>{}<BlockList/></Blob>")
        overwrite = "<ImportDisposition>overwrite</ImportDisposition>"
        path = self.folder / "manifest"
        path.write_text("<DriveManifest Version='2014-11-01'><Drive><DriveId>D</DriveId><BlobList>"
                        + blob.format("book/final", "") + blob.format("book/twice", "") + blob.format("book/twice", "")
                        + blob.format("attic/clash.txt", overwrite) + "</BlobList></Drive></DriveManifest>")
        code, _, existing, _ = self.forecast(path)
        self.assertEqual((code, existing), (1, {("book/final", "Renamed", "book/final (2)"),
                                                ("book/twice", "Renamed", "book/twice (2)"),
                                                ("attic/clash.txt", "Overwritten", None)}))
        code, counts, existing, _ = self.forecast(path, "--disposition", "no-overwrite")
        self.assertIn(("book/final", "Skipped", None), existing)
        file = self.folder / "fresh"
        file.write_text("x")
        self.assertEqual(self.forecast(self.dataset([(str(file), "book/fresh", "BlockBlob", "rename")]))[0], 0)

    def test_mistakes(self):
        self.assertEqual(run("forecast", self.folder / "gone", *self.account, "--key-file", self.key).returncode, 3)
        self.assertEqual(run("forecast", self.key, *self.account, "--key-file", self.key).returncode, 3)
        self.assertEqual(run("forecast", self.key, *self.account, "--key-file", self.key, "--disposition", "x").returncode, 2)


if __name__ == "__main__":
    try:
        azurite.npm_folder()
    except azurite.Missing as e:
        print(f"SKIP: cannot run here: {e}")
        sys.exit(77)
    unittest.main()
