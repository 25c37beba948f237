#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""New BitLocker volumes are read by every free reader: cryptsetup, dislocker and libbde's tools, beside ours.

Each variant of cipher, sector and cluster size is written with a recovery password, a user password (not ASCII
on some) and an external key; each credential must open it, the decrypted file system must equal the one that went in
wherever it is used, and the files in it must read back.
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["BERTH_BUILD"])
PREP, MAKE = BUILD / "ctl" / "berth-prep", BUILD / "tests" / "tools" / "make-volume"
TOOLS = ("cryptsetup", "dislocker-file", "bdeinfo", "bdemount", "fusermount3", "ntfscat", "ntfscp", "ntfsfix", "ntfsinfo", "mkntfs")
ENVIRONMENT = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin", LC_ALL="C.UTF-8")


def run(*arguments, check=True, **more):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, timeout=200, env=ENVIRONMENT, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments[0]} failed ({done.returncode}): {done.stdout[-300:]!r} {done.stderr[-600:]!r}")
    return done


class Volume:
    def __init__(self, folder, method, sector, cluster, mib=128):
        seed = random.Random(f"{method} {sector} {cluster}")
        self.path = folder / f"{method}-{sector}-{cluster}.img"
        self.method = method
        self.files = {}
        for name, size in (("empty", 0), ("one.bin", 1), ("resident.txt", 300), ("middle.bin", 70_001), ("large.bin", 9_000_000)):
            self.files[name] = seed.randbytes(size)
            (folder / name).write_bytes(self.files[name])
        run(MAKE, self.path, mib, method, sector, cluster, *(folder / name for name in self.files))
        self.plain = self.beside("plain").read_bytes()
        self.extents = [tuple(map(int, line.split())) for line in self.beside("extents").read_text().splitlines()]

    def beside(self, suffix):
        return pathlib.Path(f"{self.path}.{suffix}")

    def text(self, suffix):
        return self.beside(suffix).read_text(encoding="utf-8")


class ForeignReaders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="berth-foreign-")
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.volumes = [Volume(cls.folder, *variant) for variant in
                       (("xts-128", 512, 4096), ("xts-256", 512, 4096), ("xts-128", 4096, 4096), ("xts-256", 4096, 65536))]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def assert_same(self, volume, path, who):
        """The decrypted volume is what went in, wherever the file system uses it; and the files are right."""
        with open(path, "rb") as decrypted:
            for offset, length in volume.extents:
                decrypted.seek(offset)
                if decrypted.read(length) != volume.plain[offset:offset + length]:
                    self.fail(f"{who}: {volume.path.name} differs in [{offset}, {offset + length})")
        for name, original in volume.files.items():
            if run("ntfscat", "-f", path, name).stdout != original:
                self.fail(f"{who}: {volume.path.name}: {name} reads back differently")

    def test_ours(self):
        for volume in self.volumes:
            for option, suffix in (("--recovery-key-file", "recovery"), ("--external-key", "bek"),
                                   ("--external-key", "external"), ("--password-file", "password")):
                out = self.folder / "ours"
                run(PREP, "unlock", volume.path, option, volume.beside(suffix), "--raw", out)
                self.assert_same(volume, out, f"berth-prep {suffix}")
                out.unlink()

    def test_clean_file_system(self):
        for volume in self.volumes:
            self.assertIn(b"processed successfully", run("ntfsfix", "-n", volume.beside("plain")).stdout)
            information = run("ntfsinfo", "-m", volume.beside("plain")).stdout.decode()
            self.assertIn("Volume Flags: 0x0000", information)

    def test_cryptsetup(self):
        for volume in self.volumes:
            dump = run("cryptsetup", "bitlkDump", volume.path).stdout.decode()
            self.assertIn("xts-plain64", dump)
            keys = set()
            # Its version in Debian 12 cannot do passwords outside ASCII.
            for arguments in (["--key-file", volume.beside("bek")], []):
                out = self.folder / "key"
                typed = None if arguments else volume.text("recovery").encode() + b"\n"
                run("cryptsetup", "bitlkDump", volume.path, "--dump-volume-key", "-q", "--volume-key-file", out,
                    *arguments, input=typed)
                keys.add(out.read_bytes())
                out.unlink()
            self.assertEqual(len(keys), 1)
            self.assertEqual(len(keys.pop()), 32 if volume.method == "xts-128" else 64)

    def test_dislocker(self):
        for volume in self.volumes:
            for who, argument in (("recovery", "-p" + volume.text("recovery")), ("bek", ["-f", volume.beside("bek")]),
                                  ("password", "-u" + volume.text("password"))):
                if who == "password" and not volume.text("password").isascii():
                    continue  # dislocker 0.7 reads passwords by the locale
                out = self.folder / "dislocked"
                arguments = argument if isinstance(argument, list) else [argument]
                run("dislocker-file", "-r", "-V", volume.path, *arguments, "--", out)
                self.assert_same(volume, out, f"dislocker {who}")
                out.unlink()

    def test_libbde(self):
        """Debian's libbde fails on every XTS-256 volume, those of Microsoft too; and knows no 4096-byte NTFS."""
        for volume in self.volumes:
            if volume.method == "xts-256":
                continue
            information = run("bdeinfo", "-r", volume.text("recovery"), volume.path).stdout.decode()
            self.assertIn("AES-XTS 128-bit", information)
            mount = self.folder / "mount"
            mount.mkdir()
            run("bdemount", "-r", volume.text("recovery"), volume.path, mount)
            try:
                self.assert_same(volume, mount / "bde1", "libbde")
            finally:
                run("fusermount3", "-u", mount)
                mount.rmdir()


if __name__ == "__main__":
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=ENVIRONMENT["PATH"])]
    if missing:
        print("SKIP: programs are missing: " + ", ".join(missing))
        sys.exit(77)
    unittest.main()
