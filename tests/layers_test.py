#!/usr/bin/env python3
"""The architecture as a table: which folder includes which. docs/design.md says what each is for.

layers_test.py [ROOT]            fails naming file, line and arrow for every include that the table does not allow
layers_test.py --self-test ROOT  sees that it fails where one is planted in a copy of ROOT's includes
"""

import argparse
import collections
import graphlib
import pathlib
import re
import sys
import tempfile

LAYERS = ["storage", "pipeline", "method", "stages", "launch"]  # each uses those before it

# Layers whose files that lie in no folder are below the folders.
BELOW = ["storage", "method"]
# By folder: the folders of the same layer that it includes.
MAY_INCLUDE = {
    "storage": [],
    "storage/files": [],
    "storage/archives": ["images", "parquet", "files"],
    "storage/images": [],
    "storage/formats": ["archives", "images", "files"],
    "storage/parquet": ["files"],
    "storage/tables": ["formats", "files"],
    "pipeline/tensor": [],
    "pipeline/process": [],
    "pipeline/config": [],
    "pipeline/liveness": ["process"],
    "pipeline/distributed": ["liveness", "process", "tensor"],
    "pipeline/loader": ["distributed", "liveness", "process", "config", "tensor"],
    "pipeline/optimizer": ["distributed", "config", "tensor"],
    "pipeline/checkpoint": ["optimizer", "distributed", "liveness", "process", "tensor"],
    "pipeline/training": [
        "checkpoint", "optimizer", "loader", "distributed", "liveness", "process", "config", "tensor"],
    "pipeline/run": ["distributed", "config"],
    "method": [],
    "method/data": ["data/files"],
    "method/data/files": [],
    "method/data/sources": ["data", "data/files"],
    "method/data/codecs": ["data"],
    "method/models": ["data"],
    "method/models/fields": ["models", "data"],
    "method/paths": [],
    "method/objectives": ["paths", "models", "solvers", "data"],
    "method/statistics": ["data"],
    "method/solvers": ["paths"],
    "method/tables": ["statistics", "data"],
    "method/gaussianisation": ["models", "data"],
    "method/transport": ["data"],
    "method/couplings": ["tables", "transport", "statistics", "data", "solvers"],
    "method/sampling": ["objectives", "paths", "solvers", "models", "data"],
    "method/features": ["models", "data"],
    "method/metrics": ["transport"],
    "method/scoring": ["features", "metrics", "models", "data"],
    "stages": ["data", "trained", "couple", "evaluate", "results", "report", "cost"],
    "stages/data": [],
    "stages/trained": ["data"],
    "stages/couple": ["trained", "data"],
    "stages/results": ["trained"],
    "stages/evaluate": ["trained", "results", "data"],
    "stages/report": ["report/data", "report/sections", "report/html", "results"],
    "stages/report/data": ["results", "data"],
    "stages/report/sections": ["report/data", "report/html", "results"],
    "stages/report/html": [],
    "stages/cost": ["data", "evaluate", "trained", "couple"],
    "launch": ["commands"],
    "launch/commands": ["local", "slurm", "status", "inspect", "selftest"],
    "launch/local": [],
    "launch/selftest": ["local"],
    "launch/slurm": ["local"],
    "launch/status": ["slurm"],
    "launch/inspect": ["local"],
}
# The mathematics knows no run.
NOT_BY_METHOD = ["pipeline/config", "pipeline/run", "pipeline/checkpoint", "pipeline/optimizer", "pipeline/training"]
MOST_UNITS = 25  # of a folder; a unit is a .cpp with its .h, or one alone

INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')


def layer(folder):
    return folder.split("/")[0]


def allowed(source, target):
    """True if a file in `source` may include one in `target`."""
    if source == target:
        return True
    if layer(source) != layer(target):
        lower = LAYERS.index(layer(target)) < LAYERS.index(layer(source))
        return lower and not (layer(source) == "method" and target in NOT_BY_METHOD)
    return target in BELOW or target in [f"{layer(source)}/{name}" for name in MAY_INCLUDE[source]]


def sources(root):
    """The sources of the five layers, as paths from `root`."""
    found = [path.relative_to(root) for name in LAYERS for path in (root / name).rglob("*")]
    return sorted(path for path in found if path.suffix in (".cpp", ".h"))


def includes(path):
    """(line, included path) of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, match[1]) for number, line in enumerate(lines, 1) if (match := INCLUDE.match(line))]


def problems(root):
    units = collections.defaultdict(set)
    for path in sources(root):
        folder = path.parent.as_posix()
        units[folder].add(path.stem)
        for number, target in includes(root / path):
            other = pathlib.PurePosixPath(target).parent.as_posix()
            if folder in MAY_INCLUDE and not (other in MAY_INCLUDE and allowed(folder, other)):
                yield f'{path}:{number}: includes "{target}": {folder} → {other} is not allowed'
    for folder in sorted(units.keys() | MAY_INCLUDE.keys()):
        if folder not in MAY_INCLUDE:
            yield f"{folder}: is a folder that the table does not know"
        elif folder not in units:
            yield f"{folder}: is a folder of the table, and there is nothing in it"
        if len(units[folder]) > MOST_UNITS:
            yield f"{folder}: has {len(units[folder])} units, more than {MOST_UNITS}"


def copy_includes(root, copy):
    for path in sources(root):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text("".join(f'#include "{target}"\n' for _, target in includes(root / path)))


def self_test(root):
    """Each of these is planted alone in a copy without problems, and seen."""
    planted = {
        "storage/files/hash.cpp": ("storage/tables/row_table.h", "storage/files → storage/tables"),
        "pipeline/tensor/random.cpp": ("method/models/field.h", "pipeline/tensor → method/models"),
        "pipeline/config/options.h": ("pipeline/training/trainer.h", "pipeline/config → pipeline/training"),
        "method/solvers/dopri5.cpp": ("pipeline/config/config.h", "method/solvers → pipeline/config"),
        "stages/couple/couple.cpp": ("stages/evaluate/evaluate.h", "stages/couple → stages/evaluate"),
        "stages/trained/models.cpp": ("stages/plan.h", "stages/trained → stages"),
        "stages/teacher.cpp": ("launch/commands/commands.h", "stages → launch/commands"),
        "launch/local/process.cpp": ("no_such_place.h", "launch/local → ."),
    }
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(directory)
        copy_includes(root, copy)

        def expect(text):
            found = list(problems(copy))
            if len(found) != 1 or text not in found[0]:
                sys.exit(f"planted: {text}\nfound: {found}")

        if found := list(problems(copy)):
            sys.exit("\n".join(found))
        for name, (target, arrow) in planted.items():
            path = copy / name
            text = path.read_text()
            path.write_text(f'{text}#include "{target}"\n')
            expect(f'{name}:{len(text.splitlines()) + 1}: includes "{target}": {arrow} ')
            path.write_text(text)
        (copy / "method/misc").mkdir()
        (copy / "method/misc/things.h").write_text("")
        expect("method/misc: is a folder that the table does not know")
        (copy / "method/misc/things.h").unlink()
        for number in range(MOST_UNITS):
            (copy / f"storage/files/unit{number}.cpp").write_text("")
            (copy / f"storage/files/unit{number}.h").write_text("")
        expect("storage/files: has ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    arguments = parser.parse_args()
    # A table whose arrows run in a circle would allow one among the files.
    graph = {folder: [f"{layer(folder)}/{name}" for name in names] for folder, names in MAY_INCLUDE.items()}
    tuple(graphlib.TopologicalSorter(graph).static_order())
    if unknown := set(sum(graph.values(), [])) - MAY_INCLUDE.keys():
        sys.exit(f"the table allows folders that it does not know: {', '.join(sorted(unknown))}")
    if arguments.self_test:
        self_test(arguments.root)
    elif found := list(problems(arguments.root)):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
