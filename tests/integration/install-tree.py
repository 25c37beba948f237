#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""meson install gives a complete tree; its units are clean and give up what they do not need.

The tree is held against the list below: nothing may be missing, and nothing be there that nobody meant. Each page
of man/ and each description for programs in docs/ must be in it, and each program of bin/ must have a page and
completions. systemd-analyze then reads the units as they lie in the tree, and gives each its exposure score.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tree  # noqa: E402

PROGRAMS = ["berth-prep", "berthctl"]
# Below the prefix unless they begin with '/': then below the root, as the configuration.
FILES = [
    "libexec/berth/berthd",
    "libexec/berth/berth-worker",
    "lib/systemd/system/berthd.service",
    "lib/systemd/system/berth-bays.service",
    "lib/systemd/system/berth-worker.socket",
    "lib/systemd/system/berth-worker@.service",
    "lib/sysusers.d/berth.conf",
    "lib/tmpfiles.d/berth.conf",
    "lib/udev/rules.d/60-berth.rules",
    "share/doc/berth/examples/credentials.conf",
    "etc/berth/berthd.conf",
]
SCORE_BELOW = 2.5
TARGETS = {"sysinit.target", "basic.target", "sockets.target", "multi-user.target"}


def expected_files() -> set[str]:
    files = set(FILES)
    for program in PROGRAMS:
        files |= {f"bin/{program}", f"share/bash-completion/completions/{program}.bash",
                  f"share/zsh/site-functions/_{program}"}
    for suffix in ("json", "yml"):
        files |= {f"share/doc/berth/{file.name}" for file in (tree.SOURCE / "docs").glob(f"*.{suffix}")}
    for page in (tree.SOURCE / "man").glob("*.[1-9]"):
        files.add(f"share/man/man{page.suffix[1:]}/{page.name}")
    return files


class InstallTree(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="berth-tree-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.root = tree.install(self.folder / "root")
        self.base = self.root / tree.prefix().lstrip("/")

    def units(self) -> list[pathlib.Path]:
        return sorted((self.base / "lib/systemd/system").iterdir())

    def test_files(self) -> None:
        etc = tree.option("sysconfdir")
        there = {str(p.relative_to(self.base)) for p in self.base.rglob("*") if p.is_file()}
        there |= {"etc/" + str(p.relative_to(self.root / etc.lstrip("/")))
                  for p in (self.root / etc.lstrip("/")).rglob("*") if p.is_file()}
        self.assertEqual(sorted(expected_files() - there), [], "missing")
        self.assertEqual(sorted(there - expected_files()), [], "not in the list of this test")

    def test_pages(self) -> None:
        for program in PROGRAMS:
            self.assertTrue(list((tree.SOURCE / "man").glob(f"{program}.[18]")), f"{program} has no page")

    def test_units_name_what_is_installed(self) -> None:
        for unit in self.units():
            text = unit.read_text(encoding="utf-8")
            self.assertNotIn("@berth", text, unit.name)
            for program in re.findall(r"^Exec\w+=[-+!:@]*(\S+)", text, re.M):
                if program.startswith(tree.prefix() + "/") and "berth" in program:
                    self.assertTrue((self.root / program.lstrip("/")).is_file(), f"{unit.name}: {program}")

    def test_units_are_clean(self) -> None:
        """On copies that name the programs where they lie now."""
        copies = self.folder / "units"
        copies.mkdir()
        for unit in self.units():
            text = unit.read_text(encoding="utf-8")
            text = re.sub(r"^(Exec\w+=[-+!:@]*)(\S+)", lambda m: m[1] + self.program(m[2]), text, flags=re.M)
            (copies / unit.name).write_text(text, encoding="utf-8")
        verify = subprocess.run(["systemd-analyze", "verify", "--man=no", *sorted(map(str, copies.iterdir()))],
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((verify.returncode, verify.stdout + verify.stderr), (0, ""))
        broken = copies / "broken.service"
        broken.write_text("[Service]\nExecStart=/nonexistent\nProtectSytem=strict\n", encoding="utf-8")
        verify = subprocess.run(["systemd-analyze", "verify", "--man=no", str(broken)],
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertIn("ProtectSytem", verify.stderr, "the check can fail")

    def program(self, path: str) -> str:
        inside = self.root / path.lstrip("/")
        return str(inside) if inside.is_file() else path

    def test_scores(self) -> None:
        for unit in self.units():
            if unit.suffix != ".service":
                continue
            run = subprocess.run(["systemd-analyze", "security", "--offline=true",
                                  f"--threshold={SCORE_BELOW * 10:.0f}", str(unit)],
                                 capture_output=True, text=True, timeout=60, check=False)
            score = re.search(r"exposure level for \S+: ([\d.]+)", run.stdout)
            self.assertTrue(score, run.stderr)
            print(f"{unit.name}: {score[1]}")
            self.assertLess(float(score[1]), SCORE_BELOW, unit.name)
            self.assertEqual(run.returncode, 0, unit.name)


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        tree.skip("systemd-analyze is not installed")
    unittest.main(verbosity=2)
