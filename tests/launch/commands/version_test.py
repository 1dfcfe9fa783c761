"""What `couplet version` tells, and what a build notes of the commit: in a repository, of a tarball, and of neither."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zlib

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import Program, check


def check_program(program, version, compiler):
    lines = dict(line.split(" ", 1) for line in program.works("version").splitlines())
    expected = {"couplet": version, "HDF5": h5py.version.hdf5_version, "zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name, text in expected.items():
        check(lines.get(name) == text, f"{name} is {lines.get(name)}, expected {text}")
    check(lines["compiler"] == compiler, f"compiler {lines['compiler']}, expected {compiler}")
    check(re.fullmatch(r"unknown|\S*[0-9a-f]{7,}(-dirty)?|v[0-9.]+(-dirty)?", lines["commit"]), f"commit {lines['commit']}")
    for name in ("build", "LibTorch", "libpng", "libjpeg", "libwebp", "libdeflate", "libzip", "xxHash", "Boost", "fmt", "MPI", "CUDA"):
        check(lines.get(name), f"nothing is said of {name}: {sorted(lines)}")
    check(program.works("--version") == program.works("version"), "--version says something else")


class Commit:
    """A repository of its own that holds what tells the commit."""

    def __init__(self, source, work):
        self.tree, self.result = work / "tree", work / "commit.cpp"
        (self.tree / "cmake").mkdir(parents=True)
        for name in (".gitattributes", "cmake/Commit.cmake", "cmake/commit.txt"):
            shutil.copy(source / name, self.tree / name)

    def git(self, *words):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words], cwd=self.tree, env=environment,
                              capture_output=True, timeout=60)
        check(done.returncode == 0, f"git {words}: {done.stderr}")
        return done.stdout

    def told(self, tree):
        subprocess.run(["cmake", "-D", f"SOURCE={tree}", "-D", f"RESULT={self.result}", "-P", tree / "cmake/Commit.cmake"], check=True,
                       timeout=60)
        return re.search(r'return "(.*)";', self.result.read_text())[1]

    def expect(self, tree, commit, where):
        told = self.told(tree)
        check(told == commit, f"{where}: the commit is {told}, expected {commit}")


def check_commit(source, work):
    commit = Commit(source, work)
    commit.expect(commit.tree, "unknown", "no repository")
    commit.git("init", "-q")
    commit.git("add", ".")
    commit.git("commit", "-qm", "first")
    name = commit.git("rev-parse", "--short", "HEAD").decode().strip()
    commit.expect(commit.tree, name, "a repository without tags")
    commit.git("tag", "v7.1.0")
    commit.expect(commit.tree, "v7.1.0", "at a tag")
    written = commit.result.stat().st_mtime_ns
    commit.expect(commit.tree, "v7.1.0", "again")
    check(commit.result.stat().st_mtime_ns == written, "the file is written again, though nothing has changed")

    packed = work / "tree.tar"
    packed.write_bytes(commit.git("archive", "--prefix=inner/", "HEAD"))
    with tarfile.open(packed) as archive:
        archive.extractall(commit.tree)  # within a repository that is another one's
    commit.expect(commit.tree / "inner", name, "a tarball")
    shutil.copy(source / "cmake/commit.txt", commit.tree / "inner/cmake/commit.txt")
    commit.expect(commit.tree / "inner", "unknown", "a copy within another repository")

    (commit.tree / "cmake/Commit.cmake").open("a").write("# changed\n")
    commit.expect(commit.tree, "v7.1.0-dirty", "a changed file")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    check_program(Program(arguments.couplet), arguments.version, arguments.compiler)
    check_commit(arguments.source, arguments.work.resolve())


main()
