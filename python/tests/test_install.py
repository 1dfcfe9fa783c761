"""What pip makes of the source tree, without a network: a package that another folder's Python imports."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from support import FolderTest

SOURCE = Path(__file__).resolve().parents[1]
TOOLS = all(importlib.util.find_spec(name) for name in ("pip", "setuptools", "wheel"))


@unittest.skipUnless(TOOLS, "pip, setuptools or wheel is not installed")
class Install(FolderTest):
    def test_by_pip(self) -> None:
        ignored = shutil.ignore_patterns("tests", "build", "*.egg-info", "__pycache__")
        shutil.copytree(SOURCE, self.folder / "source", ignore=ignored)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
        target = self.folder / "installed"
        environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([*pip, "--target", target, self.folder / "source"], check=True, timeout=200, env=environment)
        program = "import couplet_table; print(couplet_table.__version__, couplet_table.__file__)"
        environment["PYTHONPATH"] = str(target)
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.folder,
        )
        version, path = done.stdout.split()
        self.assertEqual(Path(path).parent, target / "couplet_table")
        self.assertTrue((target / "couplet_table" / "py.typed").exists())
        self.assertTrue((target / f"couplet_table-{version}.dist-info" / "METADATA").exists())


if __name__ == "__main__":
    unittest.main()
