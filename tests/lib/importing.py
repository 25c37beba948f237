# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep import for tests: image files as drives, data sets, and what the manifest of a prepared drive says."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
PARTITION_BYTES = 1 << 20  # where the partition of a drive begins that berth-prep formatted


def prep(*arguments, timeout=600, **more):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **more)


def drive(folder: pathlib.Path, serial: str, mib: int) -> pathlib.Path:
    path = folder / f"{serial}.img"
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def dataset(folder: pathlib.Path, *rows: str) -> pathlib.Path:
    path = folder / "dataset.csv"
    path.write_text("BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n" + "\n".join(rows) + "\n")
    return path


def driveset(folder: pathlib.Path, *drives: pathlib.Path, how: str = "Format,SilentMode,Encrypt,") -> pathlib.Path:
    path = folder / "driveset.csv"
    path.write_text("DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey\n"
                    + "".join(f"{d},{how}\n" for d in drives))
    return path


def key_file(journal: pathlib.Path, serial: str) -> pathlib.Path:
    """The drive's key as the journal has it last, in a file of its own."""
    found = re.findall(rf"<DriveId>{serial}</DriveId>\s*<BitLockerKey>([0-9-]+)<", journal.read_text())
    path = journal.with_name(f"{serial}.key")
    path.write_text(found[-1])
    path.chmod(0o600)
    return path


def plain_volume(image: pathlib.Path, key: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    out.unlink(missing_ok=True)
    done = prep("unlock", image, "--recovery-key-file", key, "--raw", out)
    assert done.returncode == 0, done.stderr
    return out


def manifest_blobs(text: bytes) -> "dict[str, dict]":
    """BlobPath to what the manifest says of it; also each list's id in "list"."""
    blobs = {}
    for part in ElementTree.fromstring(text).iter("BlobList"):
        for blob in part.iter("Blob"):
            ranges = [(int(r.get("Offset")), int(r.get("Length")), r.get("Hash")) for r in blob.iter()
                      if r.tag in ("Block", "PageRange")]
            blobs[blob.findtext("BlobPath")] = {
                "file": blob.findtext("FilePath"), "length": int(blob.findtext("Length")), "ranges": ranges,
                "list": part.get("Id"), "page": blob.find("PageRangeList") is not None,
                "disposition": blob.findtext("ImportDisposition"),
                "properties": blob.findtext("PropertiesPath")}
    return blobs


def check_hashes(content, said: dict) -> "str | None":
    """Is `content` (an open file) what the manifest says? The first difference, or None."""
    for offset, length, digest in said["ranges"]:
        content.seek(offset)
        data = content.read(length)
        if len(data) != length or hashlib.md5(data).hexdigest().upper() != digest:
            return f"range at {offset} differs"
    content.seek(0, os.SEEK_END)
    return None if content.tell() == said["length"] else f"its length is {content.tell()}, and {said['length']} was said"


def report(done) -> dict:
    return json.loads(done.stdout)
