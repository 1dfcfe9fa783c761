#!/usr/bin/env python3
"""`cmake --install` into a prefix with a space in its name, moved, and used by somebody with an empty home and no environment, while the clone, the build and
the cache of scripts/setup can't be seen: nothing installed points there, two ranks train, a job script is written; and a library that is missing is named."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402

SMALL = {"prepare.train-rows": 400, "prepare.test-rows": 100, "prepare.shard-rows": 200, "prepare.block-rows": 100, "features.images": 400,
         "features.batch": 40, "features.validate-rows": 40, "pipeline.device": "cpu", "pipeline.threads": 1}
KEYS = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]


def run(command, environment, expected=0):
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=200)
    check(done.returncode == expected, f"{command}: status {done.returncode}, expected {expected}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def run_paths(file):
    """Where the loader looks for what a file needs, by its own say."""
    text = subprocess.run(["readelf", "-d", str(file)], capture_output=True, text=True, check=True).stdout
    return [path for line in text.splitlines() if "PATH)" in line for path in line.split("[")[1].rstrip("]").split(":") if path]


def hiding(directories):
    """The words by which a command sees these directories empty; none where this machine lets nobody do that."""
    directories = [one for one in directories if not any(one != other and one.is_relative_to(other) for other in directories)]
    mounts = " && ".join(f"mount -t tmpfs none '{directory}'" for directory in directories)
    for unshare in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        words = [*unshare, "sh", "-c", f'{mounts} && cd / && exec "$@"', "sh"]
        if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    print("this machine has no mount namespaces: the clone and the cache stay visible")
    return []


def check_module_files(share):
    files = sorted(path.name for path in (share / "modulefiles/couplet").iterdir())
    check(len(files) == 2 and files[1] == files[0] + ".lua", f"module files: {files}")
    for path in (share / "modulefiles/couplet").iterdir():
        check("@" not in path.read_text(), f"{path}: a value is not filled in")
    # What Lua does with the file's own pattern, and Tcl with its folder: both find the prefix.
    pattern = re.search(r'match\("(.*)"\)', (share / "modulefiles/couplet" / files[1]).read_text())[1]
    found = re.match(pattern, str(share / "modulefiles/couplet" / files[1]))
    check(found and Path(found[1]) == share.parents[1], f"{files[1]} finds the prefix {found and found[1]}")
    steps = re.search(r"\[file dirname \$ModulesCurrentModulefile\]((?: \.\.)+)\]", (share / "modulefiles/couplet" / files[0]).read_text())[1]
    check((share / "modulefiles/couplet").joinpath(*steps.split()).resolve() == share.parents[1], f"{files[0]} goes up{steps}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("cmake", "build", "source", "torch"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="couplet-install-") as directory:
        work = Path(directory).resolve()
        elsewhere, prefix, home = work / "first", work / "a prefix", work / "home"
        # All but CUDA's libraries, which are a gigabyte.
        run([arguments.cmake, "--install", arguments.build, "--prefix", elsewhere, "--component", "Unspecified"], os.environ)
        elsewhere.rename(prefix)
        home.mkdir()
        couplet = prefix / "bin/couplet"
        hidden = [Path(path).resolve() for path in (arguments.source, arguments.build, arguments.torch)]
        for file in (couplet, *prefix.glob("lib/libcouplet_cuda.so")):
            paths = run_paths(file)
            check(paths and paths[0] == "$ORIGIN/../lib/couplet/torch/lib", f"{file} looks in {paths}")
            for path in paths:
                check(not any(Path(path).is_relative_to(place) for place in hidden), f"{file} looks in {path}")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                       "OMPI_MCA_mpi_yield_when_idle": "1"}
        needed = run(["ldd", couplet], environment)
        check("not found" not in needed, needed)
        for library in ("libtorch_cpu.so", "libc10.so", "libgomp.so.1"):
            line = next((line for line in needed.splitlines() if library + " =>" in line), "")
            check(str(prefix) in line, f"{library} is not the prefix's: {line}")

        words = hiding(hidden)
        if words:
            check(run([*words, "ls", arguments.source], environment) == "", "the clone is not hidden")
        check("LibTorch" in run([*words, couplet, "version"], environment), "version")
        config = prefix / "share/couplet/configs/fashion-smoke.ini"
        common = ["--config", config, "--run-dir", work / "run", *KEYS]
        run([*words, couplet, "stage", "prepare", *common], environment)
        run([*words, "mpirun", "--oversubscribe", "-n", "2", couplet, "stage", "features", *common], environment)
        check((work / "run/features/features.safetensors").exists() or list((work / "run/features").rglob("*.safetensors")), "no features were trained")
        planned = run([*words, couplet, "submit", *common, "--dry-run"], environment)
        check("#SBATCH" in planned and str(couplet) in planned, f"no job script: {planned[-2000:]}")
        check_module_files(prefix / "share/couplet")
        for page in ("man/man1/couplet.1", "bash-completion/completions/couplet"):
            check("selftest" in (prefix / "share" / page).read_text(), f"{page} does not know the commands")

        (prefix / "lib/couplet/torch/lib/libc10.so").unlink()
        said = run([couplet, "version"], environment, expected=127)
        check("libc10.so: cannot open shared object file" in said, f"the missing library is not named: {said}")


if __name__ == "__main__":
    main()
