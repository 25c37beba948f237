# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a drive manifest for tests (import-export specification, section 2), hash by hash."""
import base64
import hashlib
from xml.sax.saxutils import escape

MIB = 1 << 20


def md5_hex(data: bytes) -> str:
    return hashlib.md5(data).hexdigest().upper()


def block_list(data: bytes, step: int = 4 * MIB, ids: bool = True) -> str:
    lines = []
    for at in range(0, len(data), step):
        piece = data[at:at + step]
        digest = hashlib.md5(piece).digest()
        block_id = f' Id="MD5/{base64.b64encode(digest).decode()}"' if ids else ""
        lines.append(f'<Block Offset="{at}" Length="{len(piece)}"{block_id} Hash="{md5_hex(piece)}"/>')
    return "<BlockList>" + "".join(lines) + "</BlockList>"


def page_list(data: bytes, step: int = MIB) -> str:
    lines = []
    for at in range(0, len(data), step):
        piece = data[at:at + step]
        if piece.strip(b"\0"):
            lines.append(f'<PageRange Offset="{at}" Length="{len(piece)}" Hash="{md5_hex(piece)}"/>')
    return "<PageRangeList>" + "".join(lines) + "</PageRangeList>"


def sidecar(kind: str, path: str, data: bytes) -> str:
    return f'<{kind}Path Hash="{md5_hex(data)}">{escape(path)}</{kind}Path>'


def blob(blob_path: str, file_path: str, data: bytes, disposition: str = "", ranges: str = "", more: str = "",
         length: int | None = None) -> str:
    wanted = f"<ImportDisposition>{disposition}</ImportDisposition>" if disposition else ""
    return (f"<Blob><BlobPath>{escape(blob_path)}</BlobPath><FilePath>{escape(file_path)}</FilePath>"
            f"<Length>{len(data) if length is None else length}</Length>{wanted}{ranges or block_list(data)}{more}</Blob>\n")


def manifest(drive_id: str, *lists: str, credential: str = "") -> bytes:
    body = "".join(f"<BlobList>{content}</BlobList>\n" for content in lists)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<DriveManifest Version="2014-11-01"><Drive>'
            f"<DriveId>{drive_id}</DriveId>{credential}\n{body}</Drive></DriveManifest>\n").encode()
