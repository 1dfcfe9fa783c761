#!/usr/bin/env python3
"""scripts/gpu-check on a CPU: a part that passes, one that fails (there is no data set), and a machine without a GPU."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", required=True, type=Path)
    parser.add_argument("--build", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)

    def run(name, *words, **environment):
        results = arguments.work / name
        done = subprocess.run([arguments.check, "--build", arguments.build, "--results", results, *words], capture_output=True, text=True, timeout=250,
                              env=os.environ | environment)
        report = results / "report.json"
        return done, json.loads(report.read_text()) if report.exists() else None

    done, report = run("parts", "--device", "cpu", "--parts", "communicator", "fashion.ini's student")
    check(done.returncode == 1 and report["passed"] is False, f"status {done.returncode}: {done.stdout}{done.stderr}")
    good, bad = report["parts"]
    check(good["passed"] and good["figures"]["communicator, 2 ranks"]["tests"] > 5, f"communicator: {good}")
    check(not bad["passed"] and "there is no data set" in bad["note"], f"steps: {bad}")
    text = (arguments.work / "parts/report.txt").read_text()
    check("passed  communicator" in text and "FAILED  steps of fashion.ini's student" in text, text)
    check(list((arguments.work / "parts").glob("*-test_communicator.log")), "no output was kept")

    # No driver is found where the linker's cache does not look; where there is a GPU, it is hidden.
    done, _ = run("no-gpu", "--parts", "communicator", CUDA_VISIBLE_DEVICES="-1")
    check(done.returncode == 77 and "no GPU that it can use" in done.stdout, f"without a GPU: status {done.returncode}: {done.stdout}{done.stderr}")
    done, _ = run("parts", "--device", "cpu")
    check(done.returncode == 2 and "is not empty" in done.stderr, f"a folder that is in use: status {done.returncode}: {done.stderr}")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
