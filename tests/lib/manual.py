# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page and the shell completions of a program, held against its own table of verbs and options."""
import json
import os
import pathlib
import re
import shutil
import subprocess

SOURCE = pathlib.Path(os.environ["BERTH_SOURCE"])


class Checks:
    """Mixed into a test case that names the program, and the groups of options that several verbs take."""

    program = None
    groups = {}
    fewest_verbs = 9

    @classmethod
    def setUpClass(cls):
        cls.path = os.path.join(os.environ["BERTH_BUILD"], "ctl", cls.program)
        cls.page_file = SOURCE / "man" / f"{cls.program}.1"
        cls.verbs = {v["name"]: v for v in json.loads(cls.output("completion", "json"))["verbs"]}
        cls.page = cls.sections()
        cls.common = cls.documented(cls.page["Common options"])

    @classmethod
    def output(cls, *arguments):
        return subprocess.run([cls.path, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout

    @classmethod
    def sections(cls):
        """Name of each subsection of the page, and its text without the macros' escapes."""
        parts = re.split(r"^\.S[SH] (.*)$", cls.page_file.read_text(), flags=re.M)
        clean = [part.replace("\\-", "-").replace("\\fI", "").replace("\\fR", "") for part in parts]
        return dict(zip(clean[1::2], clean[2::2]))

    @staticmethod
    def documented(text):
        """The options that have an item of their own: the line behind .TP."""
        return set(re.findall(r"^\.TP\n\.B[IR]? --([a-z0-9-]+)", text, flags=re.M))

    def options(self, verb):
        return {o["name"] for o in self.verbs[verb]["options"]}

    def firsts(self):
        """The first words of the verbs."""
        return {name.split()[0] for name in self.verbs}

    def test_table(self):
        self.assertGreaterEqual(len(self.verbs), self.fewest_verbs)
        for name, verb in self.verbs.items():
            self.assertTrue(verb["summary"].endswith("."), name)
            self.assertEqual(len(self.options(name)), len(verb["options"]), f"{name} has an option twice")
            self.assertLessEqual(self.common, self.options(name), name)
            shown = set(re.findall(r"^  --([a-z0-9-]+)", self.output(*name.split(), "--help"), flags=re.M))
            self.assertEqual(shown, self.options(name), name)

    def test_every_verb_has_its_section(self):
        known = set(self.verbs) | {"completion"} | set(self.groups.values()) | {"Common options"}
        self.assertEqual({s for s in self.page if s == s.lower() or s in known}, known)

    def test_every_option_is_documented_where_it_belongs(self):
        for name in self.verbs:
            text = self.page[name]
            self.assertIn(f"{self.program} {name}", text)
            there = self.documented(text) | self.common
            for words, group in self.groups.items():
                if re.search(words.replace(" ", r"\s+"), text):
                    there |= self.documented(self.page[group])
            self.assertEqual(there, self.options(name), name)

    def test_examples_and_text_name_options_that_exist(self):
        everything = set().union(*(self.options(name) for name in self.verbs))
        self.assertLessEqual(set(re.findall(r"--([a-z][a-z0-9-]*)", "\n".join(self.page.values()))), everything)

    def test_page_is_well_formed(self):
        if not shutil.which("man"):
            self.skipTest("man is not installed")
        done = subprocess.run(["man", "--warnings", "-l", str(self.page_file)], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    # ---- completion ----

    def complete(self, *words, folder=None, environment=None):
        """What bash offers for the last of the words."""
        line = " ".join(f"'{w}'" for w in (self.program, *words))
        function = "_" + self.program.replace("-", "_")
        script = (f"source <({self.path} completion bash); COMP_WORDS=({line}); COMP_CWORD={len(words)};"
                  f"{function}; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        path = {"PATH": os.path.dirname(self.path) + ":" + os.environ["PATH"]}
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=folder, timeout=60,
                              env=os.environ | path | (environment or {}))
        self.assertEqual(done.stderr, "")
        return set(done.stdout.splitlines()) - {""}

    def test_bash(self):
        self.assertEqual(self.complete(""), self.firsts() | {"completion", "--help", "--version"})
        for name in self.verbs:
            self.assertEqual(self.complete(*name.split(), "--"), {"--" + o for o in self.options(name)}, name)
        self.assertEqual(self.complete("completion", ""), {"bash", "zsh", "json"})
        if shutil.which("shellcheck"):
            done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=self.output("completion", "bash"), text=True,
                                  capture_output=True)
            self.assertEqual(done.stdout, "")

    def test_zsh(self):
        text = self.output("completion", "zsh")
        for name in self.verbs:
            part = re.search(rf"^'?{name}'?\)\n(.*?)^        ;;", text, flags=re.M | re.S).group(1)
            self.assertEqual(set(re.findall(r"'\*--([a-z0-9-]+)\[", part)), self.options(name), name)
        if shutil.which("zsh"):
            subprocess.run(["zsh", "-n", "/dev/stdin"], input=text, text=True, check=True)

    def test_completion_usage(self):
        for words in (["completion"], ["completion", "fish"], ["completion", "bash", "more"]):
            self.assertEqual(subprocess.run([self.path, *words], capture_output=True).returncode, 2)
