#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page and the shell completions of berth-prep, held against its table of verbs and options."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
PAGE = pathlib.Path(os.environ["BERTH_SOURCE"]) / "man" / "berth-prep.1"
GROUPS = {"key options": "Key options", "account options": "Account options"}


def output(*arguments):
    return subprocess.run([PREP, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def sections():
    """Name of each subsection of the page, and its text without the macros' escapes."""
    parts = re.split(r"^\.S[SH] (.*)$", PAGE.read_text(), flags=re.M)
    clean = [part.replace("\\-", "-").replace("\\fI", "").replace("\\fR", "") for part in parts]
    return dict(zip(clean[1::2], clean[2::2]))


def documented(text):
    """The options that have an item of their own: the line behind .TP."""
    return set(re.findall(r"^\.TP\n\.B[IR]? --([a-z0-9-]+)", text, flags=re.M))


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.verbs = {v["name"]: v for v in json.loads(output("completion", "json"))["verbs"]}
        cls.page = sections()
        cls.common = documented(cls.page["Common options"])

    def options(self, verb):
        return {o["name"] for o in self.verbs[verb]["options"]}

    def test_table(self):
        self.assertGreaterEqual(len(self.verbs), 9)
        self.assertIn("manifest-hash", self.options("verify-export"))
        for name, verb in self.verbs.items():
            self.assertTrue(verb["summary"].endswith("."), name)
            self.assertEqual(len(self.options(name)), len(verb["options"]), f"{name} has an option twice")
            self.assertLessEqual(self.common, self.options(name), name)
            shown = set(re.findall(r"^  --([a-z0-9-]+)", output(name, "--help"), flags=re.M))
            self.assertEqual(shown, self.options(name), name)

    def test_every_verb_has_its_section(self):
        known = set(self.verbs) | {"completion"} | set(GROUPS.values()) | {"Common options"}
        self.assertEqual({s for s in self.page if s == s.lower() or s in known}, known)

    def test_every_option_is_documented_where_it_belongs(self):
        for name in self.verbs:
            text = self.page[name]
            self.assertIn(f"berth-prep {name}", text)
            there = documented(text) | self.common
            for words, group in GROUPS.items():
                if re.search(words.replace(" ", r"\s+"), text):
                    there |= documented(self.page[group])
            self.assertEqual(there, self.options(name), name)

    def test_examples_and_text_name_options_that_exist(self):
        everything = set().union(*(self.options(name) for name in self.verbs))
        self.assertLessEqual(set(re.findall(r"--([a-z][a-z0-9-]*)", "\n".join(self.page.values()))), everything)

    def test_page_is_well_formed(self):
        if not shutil.which("man"):
            self.skipTest("man is not installed")
        done = subprocess.run(["man", "--warnings", "-l", str(PAGE)], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    # ---- completion ----

    def complete(self, *words, folder=None):
        """What bash offers for the last of the words."""
        line = " ".join(f"'{w}'" for w in ("berth-prep", *words))
        script = (f"source <({PREP} completion bash); COMP_WORDS=({line}); COMP_CWORD={len(words)};"
                  "_berth_prep; printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=folder, timeout=60)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_bash(self):
        self.assertEqual(self.complete(""), set(self.verbs) | {"completion", "--help", "--version"})
        self.assertEqual(self.complete("v"), {"validate", "verify-export"})
        for name in self.verbs:
            self.assertEqual(self.complete(name, "--"), {"--" + o for o in self.options(name)}, name)
        self.assertEqual(self.complete("unlock", "x", "--re"), {"--recovery-key-file", "--recursive"})
        self.assertEqual(self.complete("completion", ""), {"bash", "zsh", "json"})

    def test_bash_values(self):
        folder = PAGE.parent.parent
        self.assertIn("README.md", self.complete("validate", "--journal", "", folder=folder))
        self.assertIn("README.md", self.complete("validate", "", folder=folder))
        self.assertIn("man", self.complete("unlock", "--to", "", folder=folder))
        self.assertNotIn("README.md", self.complete("unlock", "--to", "", folder=folder))
        self.assertEqual(self.complete("preview-export", "--drive-size", "", folder=folder), set())

    def test_zsh(self):
        text = output("completion", "zsh")
        for name, verb in self.verbs.items():
            part = re.search(rf"^{name}\)\n(.*?)^        ;;", text, flags=re.M | re.S).group(1)
            self.assertEqual(set(re.findall(r"'\*--([a-z0-9-]+)\[", part)), self.options(name), name)
        if shutil.which("zsh"):
            subprocess.run(["zsh", "-n", "/dev/stdin"], input=text, text=True, check=True)

    def test_usage(self):
        for words in (["completion"], ["completion", "fish"], ["completion", "bash", "more"]):
            self.assertEqual(subprocess.run([PREP, *words], capture_output=True).returncode, 2)


if __name__ == "__main__":
    unittest.main()
