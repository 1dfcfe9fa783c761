#!/usr/bin/env python3
"""A finished run bears every change that a user makes to it: just what is new is made, no score is lost, a submission plans the same; and a kill in
the middle of each change is made good by the same command."""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers")]
import peer_python  # noqa: E402
from program import check, fail  # noqa: E402

SECONDS = 300  # for one command: the machine may be busy

# A run of some twenty steps a model.
TINY = {"prepare.train-rows": 300, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50, "features.images": 240,
        "features.batch": 24, "features.dimension": 8, "teacher.images": 240, "teacher.batch": 24, "teacher.preview-every": 0,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50, "student.images": 240, "student.batch": 24,
        "student.preview-every": 0, "student.ema": "0.98 0.9", "evaluate.samples": 40, "evaluate.slice-rows": 20, "evaluate.euler-nfe": "1 2",
        "evaluate.heun-nfe": 3, "evaluate.grids": "uniform", "evaluate.curvature-samples": 8, "evaluate.curvature-steps": 4,
        "evaluate.pairing-rows": 8, "evaluate.pairing-nfe": 2, "evaluate.pairwise-images": 20, "evaluate.grid-rows": 1, "pipeline.device": "cpu",
        "pipeline.threads": 1, "pipeline.ranks": 1, "pipeline.checkpoint-every": 3}

CLASSIFIER = {"noise-classifier.images": 240, "noise-classifier.batch": 24, "noise-classifier.channels": 4}

MAKE_NETWORK = """
import sys, torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.matrix = torch.nn.Parameter(torch.randn(12, 28 * 28) / 50)

    def forward(self, images):
        return (images[:, :1].float() / 255).flatten(1).matmul(self.matrix.t())

torch.jit.script(Network()).save(sys.argv[1])
"""

NF = {"student/nf-0", "evaluate/nf-0"}
INDEPENDENT = {"student/independent-0", "evaluate/independent-0"}
DATA = {"prepare", "features", "evaluate/real"}
TABLE = {"coupling/nf", "evaluate/table-nf"}
TEACHER = {"teacher", "evaluate/teacher"} | TABLE
EVALUATIONS = {"evaluate/real", "evaluate/teacher", "evaluate/nf-0", "evaluate/independent-0"}
ALL = DATA | TEACHER | NF | INDEPENDENT | {"report"}


def keys(settings):
    words = []
    for key, value in settings.items():
        words += [f"--{key}", *str(value).split()]
    return words


class Run:
    def __init__(self, couplet, directory):
        self.couplet, self.directory = couplet, Path(directory)

    def copy(self, name):
        """Another run directory of the same contents, time stamps included."""
        directory = self.directory.parent / name
        subprocess.run(["cp", "-a", str(self.directory), str(directory)], check=True)
        return Run(self.couplet, directory)

    def words(self, *words):
        return [self.couplet, words[0], "--run-dir", str(self.directory), *map(str, words[1:])]

    def call(self, *words, cwd=None):
        return subprocess.run(self.words(*words), capture_output=True, text=True, timeout=SECONDS, cwd=cwd)

    def works(self, *words, cwd=None):
        done = self.call(*words, cwd=cwd)
        check(done.returncode == 0, f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def attempts(self):
        """How often each stage was begun, and how long that took."""
        found = {}
        for folder, _, names in os.walk(self.directory):  # passes over what is deleted in this moment
            if "stage.json" not in names:
                continue
            try:
                record = json.loads((Path(folder) / "stage.json").read_text())
            except FileNotFoundError:
                continue
            found[os.path.relpath(folder, self.directory)] = record["attempts"], record["seconds"]
        return found

    def scores(self):
        """Every score that was ever made: its identity and its value."""
        found = {}
        for path in (self.directory / "evaluate").glob("*/records.json"):
            for record in json.loads(path.read_text())["records"]:
                identity = {name: value for name, value in record.items() if name in IDENTITY}
                found[json.dumps(identity, sort_keys=True)] = record["value"]
        return found

    def planned(self, *words, cwd=None):
        """The stages that a submission would make jobs of."""
        plan = self.works("submit", "--dry-run", *words, cwd=cwd)
        table = plan.split("device time")[0] if "device time" in plan else plan
        rows = re.findall(r"^(\S+)\s+(.*)$", table.split("after\n", 1)[1], flags=re.M)
        return {name for name, rest in rows if "/" in name or name in ALL if not rest.startswith("no job")}

    def complete(self):
        stages = json.loads(subprocess.run([self.couplet, "status", str(self.directory), "--json"], capture_output=True, text=True,
                                           timeout=SECONDS, check=True).stdout)["stages"]
        unfinished = [stage["stage"] for stage in stages if stage["state"] != "complete"]
        check(not unfinished, f"{self.directory.name}: not complete: {unfinished}")


IDENTITY = {"model", "student", "coupling", "seed", "solver", "grid", "noise", "sampling_seed", "table", "split", "ema", "guidance", "guidance_interval",
            "temperature", "candidates", "denoised", "metric", "atol", "rtol", "made_with", "nfe"}


def begun(before, after):
    """How often each stage was begun since; one that was deleted counts its attempts from the beginning."""
    counts = {}
    for stage, (attempts, seconds) in after.items():
        old_attempts, old_seconds = before.get(stage, (0, 0))
        if (attempts, seconds) != (old_attempts, old_seconds):
            counts[stage] = attempts - old_attempts if attempts > old_attempts else attempts
    return counts


def check_scores(name, before, after, lost_allowed):
    """Scores that were there are there still, with the same digits, but those that the change makes anew."""
    for identity, value in before.items():
        if identity in after:
            check(after[identity] == value or lost_allowed, f"{name}: a score has other digits: {identity}: {value}, {after[identity]}")
        else:
            check(lost_allowed, f"{name}: a score is lost: {identity}")


def kill_group(job):
    try:
        os.killpg(job.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    job.wait(SECONDS)


def kill_once(run, words, cwd, expected, before, rng):
    """Starts the command, kills it and all its ranks at a random moment of what it has to do."""
    job = subprocess.Popen(run.words(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd, start_new_session=True)
    # The moment is drawn in stages: so many begun, and a part of one.
    wanted = rng.randrange(max(1, len(expected)))
    deadline = time.monotonic() + SECONDS
    while job.poll() is None and time.monotonic() < deadline:
        if len(begun(before, run.attempts())) > wanted:
            time.sleep(rng.uniform(0, 1.5))
            break
        time.sleep(0.05)
    hit = job.poll() is None
    kill_group(job)
    return hit


class Matrix:
    """Changes to finished runs, each tried in peace and with a kill in its middle."""

    def __init__(self, arguments):
        self.seed = arguments.seed
        self.kills, self.cases = [], []

    def change(self, name, base, words, expected, again=False, cwd=None):
        """`expected`: the stages that are begun. `again`: scores may come out anew, as what they are of does."""
        start = time.monotonic()
        run = base.copy(f"{name}-in-peace")
        before, scores = run.attempts(), run.scores()
        check(len(scores) > 20, f"{name}: only {len(scores)} scores to lose")
        planned = run.planned(*words, cwd=cwd)
        run.works("run", *words, cwd=cwd)
        counts = begun(before, run.attempts())
        check(set(counts) == expected and set(counts.values()) <= {1},
              f"{name}: begun {counts}, expected once each: {sorted(expected)}")
        check(planned == expected, f"{name}: a submission plans {sorted(planned)}, expected {sorted(expected)}")
        check_scores(name, scores, run.scores(), again)
        run.complete()
        check((run.directory / "report/report.html").exists() and (run.directory / "evaluate/results.json").exists(), f"{name}: no report")
        # Once more: nothing is left to do.
        after = run.attempts()
        run.works("run", cwd=cwd)
        check(run.attempts() == after, f"{name}: a second call began {begun(after, run.attempts())}")
        wanted = run.scores()
        shutil.rmtree(run.directory)
        self.cases.append(name)
        if expected:
            self.killed(name, base, words, expected, again, cwd, wanted)
        print(f"{name}: {len(expected)} stages begun, {len(wanted)} scores ({time.monotonic() - start:.0f} s)", flush=True)

    def killed(self, name, base, words, expected, again, cwd, wanted):
        run = base.copy(f"{name}-killed")
        before, scores = run.attempts(), run.scores()
        if kill_once(run, ("run", *words), cwd, expected, before, random.Random(f"{self.seed} {name}")):
            self.kills.append(name)
        # What was deleted on purpose is not deleted once more.
        rest = [word for i, word in enumerate(words) if word != "--redo" and (i == 0 or words[i - 1] != "--redo")]
        run.works("run", *rest, cwd=cwd)
        counts = begun(before, run.attempts())
        check(set(counts) <= expected, f"{name}, killed: begun {counts}, expected only {sorted(expected)}")
        check_scores(name, scores, run.scores(), again)
        check(run.scores().keys() == wanted.keys(), f"{name}, killed: other scores than in peace: {sorted(run.scores().keys() ^ wanted.keys())[:3]}")
        run.complete()
        shutil.rmtree(run.directory)


def data_source(couplet):
    """Where the default data set lies."""
    done = subprocess.run([couplet, "config", "--brief"], capture_output=True, text=True, check=True)
    return Path(done.stdout.split("source = ")[1].splitlines()[0])


def one_class(couplet, arguments):
    """Images of one class need no classifier: what can be said of samples without one is said."""
    source = arguments.work / "one class"
    shutil.copytree(data_source(couplet), source)
    for path in source.glob("*labels*"):
        with gzip.open(path) as file:
            content = file.read()
        path.unlink()  # a link, perhaps
        with gzip.open(path, "wb") as file:
            file.write(content[:8] + bytes(len(content) - 8))
    run = Run(couplet, arguments.work / "one-class")
    run.works("run", *keys(TINY | {"student.compare": "independent"}), "--prepare.source", source)
    check(set(run.attempts()) == {"prepare", "evaluate/real", "report"} | INDEPENDENT, f"a run of one class has {sorted(run.attempts())}")
    run.complete()
    records = json.loads((run.directory / "evaluate/results.json").read_text())["records"]
    shares = [record["value"] for record in records if record["metric"] == "finite_share"]
    check(len(shares) == 3 and set(shares) == {1}, f"finite samples: {shares}")
    check(not any(record["metric"] in ("frechet_distance", "class_accuracy") for record in records), "there is nothing to compare by")
    check((run.directory / "report/report.html").exists(), "no report")
    shutil.rmtree(run.directory)
    print("one class needs no classifier", flush=True)


def refused_data(base, arguments):
    """Another data set is refused with both hashes, before anything is touched; the same one elsewhere is the same."""
    source = data_source(base.couplet)
    moved = arguments.work / "moved data"
    shutil.copytree(source, moved)
    run = base.copy("same-data")
    before = run.attempts()
    run.works("run", "--prepare.source", moved)
    check(run.attempts() == before, f"data that was moved began {begun(before, run.attempts())}")
    shutil.rmtree(run.directory)
    labels = next(moved.glob("t10k-labels*"))
    labels.unlink()
    shutil.copyfile(next(source.glob("train-labels*")), moved / "t10k-labels-idx1-ubyte.gz")
    run = base.copy("other-data")
    everything = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.is_file() and path.name not in ("lock", "file-hashes.json")}
    done = run.call("run", "--prepare.source", moved)
    hashes = re.findall(r"prepare\.source: recorded ([0-9a-f]{32}), now ([0-9a-f]{32})", done.stderr)
    check(done.returncode == 2 and len(hashes) == 1 and hashes[0][0] != hashes[0][1], f"other data: status {done.returncode}: {done.stderr}")
    check(done.stderr.count("\n") == 1, f"other data: not one line: {done.stderr}")
    after = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.is_file() and path.name not in ("lock", "file-hashes.json")}
    check(after == everything, f"a refusal changed {sorted(str(path) for path in after.keys() ^ everything.keys())}")
    run.works("run")
    check(run.attempts() == before, "a refusal left something to be done")
    shutil.rmtree(run.directory)
    print("another data set is refused", flush=True)


def unlisted(base):
    """What is made from a stage that is deleted goes, too, where its student or seed is out of the list just then."""
    run = base.copy("unlisted")
    run.works("run", "--student.seeds", "0", "1")
    run.works("run", "--student.seeds", "0", "--redo", "teacher")
    before = run.attempts()
    run.works("run", "--student.seeds", "0", "1")
    counts = begun(before, run.attempts())
    check(set(counts) == {"student/nf-1", "evaluate/nf-1", "evaluate/independent-1", "report"},
          f"seed 1, listed again after its teacher was made anew: begun {sorted(counts)}")
    run.complete()
    shutil.rmtree(run.directory)
    print("what is not listed is made anew, too", flush=True)


def earlier_run(base):
    """A finished run of a program that measured no tables gains their scores, and nothing else is made."""
    run = base.copy("earlier-run")
    scores = run.scores()
    shutil.rmtree(run.directory / "evaluate/table-nf")
    kept = run.scores()
    check(0 < len(scores) - len(kept) < 40, f"{len(scores) - len(kept)} scores of the table")
    before = run.attempts()
    run.works("run")
    counts = begun(before, run.attempts())
    # The report was made of just these scores.
    check(set(counts) == {"evaluate/table-nf"}, f"a run without scores of its table began {sorted(counts)}")
    check(run.scores() == scores, "the table's scores are others than those of a run that had them from the beginning")
    shutil.rmtree(run.directory)
    print("a finished run gains the scores of its table", flush=True)


def earlier_form(base):
    """A run directory of the form before tables had names is refused, with what to do."""
    run = base.copy("earlier-form")
    shutil.move(run.directory / "coupling/nf", run.directory / "coupling-nf")
    shutil.rmtree(run.directory / "coupling")
    shutil.move(run.directory / "coupling-nf", run.directory / "coupling")
    for command in ("run", "submit"):
        done = run.call(command, *(("--dry-run",) if command == "submit" else ()))
        check(done.returncode == 2 and "earlier form" in done.stderr and "--run-dir" in done.stderr, f"{command}: {done.stderr}")
    done = run.call("run", "--student.couplings", "nf")
    check(done.returncode == 2 and "student.compare" in done.stderr, f"the old key: {done.stderr}")
    shutil.rmtree(run.directory)
    print("the earlier form is refused", flush=True)


def moves(matrix, base, network_run, network, arguments):
    """Run directories, networks and callers move; what is made stays."""
    matrix.change("another-directory", base, (), set(), cwd=arguments.work / "elsewhere")
    run = base.copy("moved-from")
    before = run.attempts()
    os.rename(run.directory, arguments.work / "moved to")
    run = Run(base.couplet, arguments.work / "moved to")
    run.works("run")
    check(run.attempts() == before, f"a moved run began {begun(before, run.attempts())}")
    relative = Run(base.couplet, os.path.relpath(run.directory, arguments.work / "elsewhere"))
    relative.works("run", cwd=arguments.work / "elsewhere")
    check(run.attempts() == before, "a relative --run-dir began something")
    shutil.rmtree(run.directory)

    # The network is named by a relative path in an INI file that lies beside it.
    run = network_run.copy("moved-network")
    before = run.attempts()
    run.works("run", "--config", "../elsewhere/network.ini", cwd=arguments.work / "moved data")
    check(run.attempts() == before, f"the same file by another relative path began {begun(before, run.attempts())}")
    os.rename(network, arguments.work / "renamed.pt")
    run.works("run")
    check(run.attempts() == before, f"a network that is gone, with nothing to score, began {begun(before, run.attempts())}")
    run.works("run", "--evaluate.network", arguments.work / "renamed.pt")
    check(run.attempts() == before, f"a moved network began {begun(before, run.attempts())}")
    shutil.rmtree(run.directory)
    os.rename(arguments.work / "renamed.pt", network)
    print("what moves is the same", flush=True)


def side_by_side(works):
    """Two at a time, each on a core. The first that fails ends the test when those that have begun are done."""
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for work in works]
        try:
            for future in futures:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--torch", required=True, help="site-packages of the torch wheel")
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--work", required=True, type=Path, help="directory for the runs; emptied first, removed on success")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    (arguments.work / "elsewhere").mkdir(parents=True)
    couplet = str(Path(arguments.couplet).resolve())

    both, nf, independent = (Run(couplet, arguments.work / name) for name in ("both", "nf", "independent"))
    side_by_side([lambda: both.works("run", *keys(TINY)), lambda: nf.works("run", *keys(TINY | {"student.compare": "nf"})),
                  lambda: independent.works("run", *keys(TINY | {"student.compare": "independent"}))])
    check(set(both.attempts()) == ALL, f"the default run has {sorted(both.attempts())}")
    check(set(independent.attempts()) == DATA | INDEPENDENT | {"report"}, f"a run of independent alone has {sorted(independent.attempts())}")

    students = {"evaluate/nf-0", "evaluate/independent-0", "report"}
    matrix = Matrix(arguments)
    cases = [lambda: one_class(couplet, arguments), lambda: refused_data(both, arguments), lambda: unlisted(both), lambda: earlier_run(both),
             lambda: earlier_form(both)]

    def change(*case, again=False):
        cases.append(lambda: matrix.change(*case, again=again))

    change("seed", both, ("--student.seeds", "0", "1"),
           {"student/nf-1", "evaluate/nf-1", "student/independent-1", "evaluate/independent-1", "report"})
    change("student", both, ("--student.compare", "nf", "independent", "wide", "--student.wide.coupling", "nf", "--student.wide.channels", "48"),
           {"student/wide-0", "evaluate/wide-0", "report"})
    change("add-independent", nf, ("--student.compare", "nf", "independent"), INDEPENDENT | {"report"})
    # The pairs of the new table are measured with the student that was there, too.
    change("add-nf", independent, ("--student.compare", "nf", "independent"), TEACHER | NF | {"evaluate/independent-0", "report"})
    change("reorder", both, ("--student.compare", "independent", "nf"), {"report"})
    change("nfe", both, ("--evaluate.euler-nfe", "1", "2", "4"), students)
    change("fewer-nfe", both, ("--evaluate.euler-nfe", "1"), {"report"})
    change("solver", both, ("--evaluate.midpoint-nfe", "2"), students)
    change("guidance", both, ("--evaluate.guidance", "1", "2"), students)
    change("temperature", both, ("--evaluate.temperature", "1", "0.9"), students)
    change("ema", both, ("--evaluate.ema", "0.98", "0.9", "0"), students)
    change("sampling-seed", both, ("--evaluate.sampling-seeds", "0", "1"), students | {"evaluate/teacher"})
    change("gap-rows", both, ("--evaluate.gap-rows", "50"), {"evaluate/table-nf", "report"})
    change("noise-classifier", both, ("--evaluate.noise-classifier", "true", *keys(CLASSIFIER)), {"noise-classifier/nf", "evaluate/table-nf", "report"})
    change("candidates", both, ("--evaluate.candidates", "1", "4", *keys(CLASSIFIER)),
           {"noise-classifier/nf", "evaluate/table-nf", "evaluate/nf-0", "report"})
    change("samples", both, ("--evaluate.samples", "60"), EVALUATIONS | {"report"})
    change("redo-prepare", both, ("--redo", "prepare"), ALL, again=True)
    change("redo-features", both, ("--redo", "features"), EVALUATIONS | {"features", "report"}, again=True)
    change("redo-teacher", both, ("--redo", "teacher"), TEACHER | NF | {"evaluate/independent-0", "report"}, again=True)
    change("redo-couple", both, ("--redo", "couple"), NF | TABLE | {"evaluate/independent-0", "report"}, again=True)
    change("redo-student", both, ("--redo", "student"), NF | INDEPENDENT | {"report"}, again=True)
    change("redo-evaluate", both, ("--redo", "evaluate"), EVALUATIONS | {"evaluate/table-nf", "report"}, again=True)
    change("redo-report", both, ("--redo", "report"), {"report"})

    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    network = arguments.work / "elsewhere" / "network.pt"
    script = arguments.work / "make_network.py"
    script.write_text(MAKE_NETWORK)
    subprocess.run([python, script, network], env=environment, check=True, timeout=100)
    (arguments.work / "elsewhere" / "network.ini").write_text(
        "".join(f"[{section}]\n" + "".join(f"{key.split('.', 1)[1]} = {value}\n" for key, value in TINY.items() if key.startswith(section + "."))
                for section in ("prepare", "features", "teacher", "couple", "student", "pipeline"))
        + "[evaluate]\n" + "".join(f"{key[9:]} = {value}\n" for key, value in TINY.items() if key.startswith("evaluate.")) + "network = network.pt\n")
    change("network", both, ("--evaluate.network", network), EVALUATIONS | {"report"})
    network_run = both.copy("with-network")
    cases.append(lambda: network_run.works("run", "--config", arguments.work / "elsewhere" / "network.ini"))
    side_by_side(cases)
    moves(matrix, both, network_run, network, arguments)
    count, kills = len(matrix.cases), len(matrix.kills)
    check(count >= 20 and kills >= count // 2, f"{count} changes, but only {kills} kills hit")
    print(f"{count} changes in peace, {kills} of them killed in the middle")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
