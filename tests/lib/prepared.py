# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives for tests: an encrypted image with files, their manifest and a journal, each of which may be made wrong.

    drive = Prepared(folder, "SERIAL1")
    drive.add("attic/a.txt", "\\\\s\\\\a.txt", b"content")
    drive.make()                      # drive.image, drive.journal, drive.key_file
"""
import base64
import hashlib
import os
import pathlib
import subprocess
from xml.sax.saxutils import escape

MAKE = os.path.join(os.environ["BERTH_BUILD"], "tests", "tools", "make-volume")
BLOCK = 4 << 20


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest().upper()


def block_list(data: bytes, block: int) -> str:
    text = ""
    for at in range(0, len(data), block):
        piece = data[at:at + block]
        name = "MD5/" + base64.b64encode(hashlib.md5(piece).digest()).decode()
        text += f'<Block Offset="{at}" Length="{len(piece)}" Id="{name}" Hash="{md5(piece)}"/>\n'
    return f"<BlockList>\n{text}</BlockList>"


def page_list(data: bytes, pages: "list[tuple[int, int]]") -> str:
    text = "".join(f'<PageRange Offset="{at}" Length="{n}" Hash="{md5(data[at:at + n])}"/>\n' for at, n in pages)
    return f"<PageRangeList>\n{text}</PageRangeList>"


class Prepared:
    def __init__(self, folder: pathlib.Path, serial: str, export: bool = False, size_mib: int = 64):
        self.folder, self.serial, self.export, self.size_mib = folder, serial, export, size_mib
        self.image = folder / f"{serial}.img"
        self.journal = folder / f"{serial}.jrn"
        self.manifest_path = f"\\{serial}.manifest" if export else "\\DriveManifest.xml"
        self.entries: "list[str]" = []
        self.files: "dict[str, bytes]" = {}
        self.manifest_serial = serial
        self.sector_bytes, self.method = 512, "xts-256"
        self.list_extra = ""  # elements in front of the blobs
        self.credential = "" if export else "<ContainerSas>attic?sv=2014-02-14&amp;sr=c&amp;sp=rwd&amp;sig=eA%3D%3D</ContainerSas>"

    def add(self, blob: str, path: str, data: bytes, on_drive: "bytes | None" = None, block: int = BLOCK,
            pages: "list | None" = None, extra: str = "", length: "int | None" = None, there: bool = True) -> None:
        """`on_drive` is what the drive gets instead of `data`, which the manifest describes."""
        ranges = page_list(data, pages) if pages is not None else block_list(data, block)
        disposition = "" if self.export else "<ImportDisposition>rename</ImportDisposition>"
        self.entries.append(
            f"<Blob><BlobPath>{escape(blob)}</BlobPath><FilePath>{escape(path)}</FilePath>"
            f"<Length>{len(data) if length is None else length}</Length>{disposition}{ranges}{extra}</Blob>\n")
        if there:
            self.files[path] = data if on_drive is None else on_drive

    def manifest(self) -> bytes:
        return (f'<?xml version="1.0" encoding="UTF-8"?>\n<DriveManifest Version="2014-11-01">\n<Drive>'
                f"<DriveId>{self.manifest_serial}</DriveId>{self.credential}<BlobList>{self.list_extra}\n"
                + "".join(self.entries) + "</BlobList>\n</Drive>\n</DriveManifest>\n").encode()

    def make(self, journal_serial: "str | None" = None, manifest_hash: "str | None" = None, key: "str | None" = None) -> None:
        manifest = self.manifest()
        self.manifest_hash = md5(manifest)
        arguments = []
        for n, (path, data) in enumerate({**self.files, self.manifest_path: manifest}.items()):
            source = self.folder / f"{self.serial}.{n}"
            source.write_bytes(data)
            arguments.append(f"{source}={path}")
        subprocess.run([MAKE, self.image, str(self.size_mib), self.method, str(self.sector_bytes), "4096", *arguments], check=True, timeout=120)
        for n in range(len(arguments)):
            (self.folder / f"{self.serial}.{n}").unlink()
        os.unlink(f"{self.image}.plain")
        self.key_file = pathlib.Path(f"{self.image}.recovery")
        self.key = self.key_file.read_text()
        self.journal.write_text(
            "[BeginUpdateRecord][2031/04/09 07:58:44.900][Type:ActivityRecord]\r\nActivityId: DriveInfo\r\n"
            f"DriveState: [BeginValue]\r\n<Drive><DriveId>{journal_serial or self.serial}</DriveId>"
            f"<BitLockerKey>{key or self.key}</BitLockerKey><ManifestFile>{self.manifest_path}</ManifestFile>"
            f"<ManifestHash>{manifest_hash or self.manifest_hash}</ManifestHash></Drive>\r\n[EndValue]\r\n[EndUpdateRecord]\r\n")
        self.journal.chmod(0o600)
