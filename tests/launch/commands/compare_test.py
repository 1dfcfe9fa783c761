"""couplet compare: several runs in one page; runs whose scores may not be compared, and what is no run, are refused by name."""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import Program, check  # noqa: E402


def record(coupling, nfe, value, **changes):
    return {"model": "student", "coupling": coupling, "seed": 0, "sampling_seed": 0, "solver": "euler", "grid": "uniform", "nfe": nfe,
            "noise": "fresh", "split": "", "guidance": 1.0, "denoised": False, "metric": "frechet_distance", "value": value,
            "samples": 500, "network": "some network", "network_hash": "0123", "resize": "none"} | changes


def write_scores(run, nf, **changes):
    """Independent 20 and 10 at NFE 1 and 2, nf as given."""
    for coupling, values in (("independent", (20, 10)), ("nf", nf)):
        directory = run / "evaluate" / f"{coupling}-0"
        directory.mkdir(parents=True, exist_ok=True)
        records = [record(coupling, nfe, value, **changes) for nfe, value in zip((1, 2), values)]
        (directory / "records.json").write_text(json.dumps({"records": records}))


class Cases:
    def __init__(self, program, config, work):
        self.program, self.work = program, work
        self.first = work / "first"
        self.prepare(self.first, config)
        self.pages = 0

    def prepare(self, run, config, *words):
        self.program.works("stage", "prepare", "--config", config, "--run-dir", run, *words)

    def copy(self, name, nf, **changes):
        run = self.work / name
        shutil.copytree(self.first, run)
        write_scores(run, nf, **changes)
        return run

    def page(self, *words):
        self.pages += 1
        output = self.work / f"page-{self.pages}.html"
        said = self.program.works("compare", *words, "--output", output)
        check(output.name in said, f"compare says {said}")
        text = re.sub("base64,[A-Za-z0-9+/=]+", "", output.read_text())
        return text

    def refuses(self, parts, *runs, output=None):
        output = output or self.work / "refused.html"
        self.program.refuses(2, parts, "compare", *runs, "--output", output)
        check(not (self.work / "refused.html").exists(), "a page was written though the runs were refused")


def pages(cases):
    write_scores(cases.first, (5, 4))
    second = cases.copy("second", (4, 2))
    text = cases.page(cases.first, f"{second}/")
    for part in ("first: nf beats first: independent", "second: nf beats second: independent", "second: nf beats first: nf",
                 "by most 2.00 times: Fréchet distance 2.00 against 4.00 at NFE 2", "<title>first, second</title>"):
        check(part in text, f"{part!r} is not on the page")
    alone = cases.page(second, "--title", "Alone")
    check("nf beats independent" in alone and "second: " not in alone and "<h1>Alone</h1>" in alone, "one run shows its own report")
    twin = cases.work / "elsewhere" / "first"
    shutil.copytree(second, twin)
    text = cases.page(cases.first, twin)
    check(f"{twin}: nf" in text and f"{cases.first}: nf" in text, "runs whose directories have one name are called by their paths")


def what_is_no_run(cases):
    run = cases.work / "unscored"
    shutil.copytree(cases.work / "second", run)
    shutil.rmtree(run / "evaluate")
    first = cases.first
    cases.refuses(["unscored", "has no scores yet"], first, run)
    damaged = cases.work / "damaged"
    shutil.copytree(cases.work / "second", damaged)
    (damaged / "evaluate" / "nf-0" / "records.json").write_text('{"records": [')
    cases.program.refuses(1, ["damaged/evaluate/nf-0/records.json", "no list of records in it", "remove the file"], "compare", damaged, "--output", cases.work / "refused.html")
    cases.refuses(["nowhere is no run directory", "config.ini"], first, cases.work / "nowhere")
    cases.refuses(["are the same run"], first, f"{first}/")
    cases.refuses(["needs RUN..."])
    cases.refuses([".html"], first, output=cases.work / "page.pdf")
    cases.refuses(["page-1.html exists and is not overwritten"], first, output=cases.work / "page-1.html")
    cases.program.refuses(2, ["needs --output"], "compare", first)


def what_may_not_be_compared(cases, config):
    first = cases.first
    for name, changes, parts in (("fewer", {"samples": 100}, ["number of samples", "500", "100"]),
                                 ("other-network", {"network_hash": "4567"}, ["network's hash", "0123", "4567"]),
                                 ("resized", {"resize": "inside the network"}, ["resize", "none", "inside the network"])):
        cases.refuses([*parts, "first", name, "cannot be compared"], first, cases.copy(name, (5, 4), **changes))
    other = cases.work / "other-data"
    cases.prepare(other, config, "--prepare.train-rows", 500)
    write_scores(other, (5, 4))
    cases.refuses(["data set", "first", "other-data"], first, other)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True, help="the smoke preset")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    cases = Cases(Program(arguments.couplet), arguments.config, arguments.work)
    pages(cases)
    what_is_no_run(cases)
    what_may_not_be_compared(cases, arguments.config)
    shutil.rmtree(arguments.work)
    print("several runs in one page; what may not be compared is refused")


main()
