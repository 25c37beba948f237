#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page and the shell completions of berth-prep, held against its table of verbs and options."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from manual import SOURCE, Checks  # noqa: E402


class Manual(Checks, unittest.TestCase):
    program = "berth-prep"
    groups = {"key options": "Key options", "account options": "Account options"}

    def test_knows_its_options(self):
        self.assertIn("manifest-hash", self.options("verify-export"))

    def test_bash_words(self):
        self.assertEqual(self.complete("v"), {"validate", "verify-export"})
        self.assertEqual(self.complete("unlock", "x", "--re"), {"--recovery-key-file", "--recursive"})

    def test_bash_values(self):
        self.assertIn("README.md", self.complete("validate", "--journal", "", folder=SOURCE))
        self.assertIn("README.md", self.complete("validate", "", folder=SOURCE))
        self.assertIn("man", self.complete("unlock", "--to", "", folder=SOURCE))
        self.assertNotIn("README.md", self.complete("unlock", "--to", "", folder=SOURCE))
        self.assertEqual(self.complete("preview-export", "--drive-size", "", folder=SOURCE), set())


if __name__ == "__main__":
    unittest.main()
