#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in PostgreSQL: what the tests of the store and of the hub ask of SQLite, they ask of it.

    store-postgres.py TEST...
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import postgres

if __name__ == "__main__":
    if not postgres.programs():
        print("SKIP: cannot run here: there is no PostgreSQL server")
        sys.exit(77)
    with postgres.Postgres() as server:
        failed = 0
        for test in sys.argv[1:]:
            environment = os.environ | {"BERTH_TEST_POSTGRESQL": server.base()}
            failed |= subprocess.run([test], env=environment, timeout=600).returncode
    sys.exit(failed)
