"""Completion and manual page against what the program's own help says: every command, flag and key, and values that it lists."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import Program, check

# Completes each line of words, which a unit separator stands between, and prints what is offered.
COMPLETE = r"""
load() { source "$1"; }; load "$1"
while IFS= read -r line; do
  COMP_WORDS=()
  while [[ $line == *$'\x1f'* ]]; do COMP_WORDS+=("${line%%$'\x1f'*}"); line=${line#*$'\x1f'}; done
  COMP_WORDS+=("$line") COMP_CWORD=${#COMP_WORDS[@]}
  ((--COMP_CWORD))
  _couplet
  printf '%s\x1f' "${COMPREPLY[@]}"; echo
done
"""
PLACEHOLDERS = {"section.key", "student.NAME.key"}


class Help:
    """What `couplet help` and every command's --help list, and `couplet config`."""

    def __init__(self, program):
        overview = program.works("help")
        self.commands = [name for name in re.findall(r"(?m)^  ([a-z-]+) +\S", overview.split("COMMAND [options]")[1]) if name != "help"]
        check(len(self.commands) > 20, f"commands: {overview}")
        self.flags = {}  # of a command: its flags with their help
        for name in self.commands:
            text = program.works(name, "--help").split("\n\n")[1]
            self.flags[name] = dict(re.findall(r"(?m)^  (?:-\w, )?--(\S+)(?: \S+)? +(\S.*)$", text))
            check("help" in self.flags[name], f"{name}: no flags in {text}")
        self.keys, self.choices, section = [], {}, ""
        note = ""
        for line in program.works("config").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif re.match(r"# \S", line):
                note = line
            elif " =" in line and not line.startswith("#"):
                self.keys.append(f"{section}.{line.split(' =')[0]}")
                if listed := re.search(r"\((?:one|some) of ([^;]*?)[;)]", note):
                    self.choices[self.keys[-1]] = listed[1].split(", ")
        check(len(self.keys) > 200 and len(self.choices) > 20, f"{len(self.keys)} keys, {len(self.choices)} with choices")


class Completion:
    def __init__(self, script, folder):
        self.script, self.folder = script, folder

    def offers(self, lines):
        """Of each line, whose last word is the one to complete: the set of words."""
        text = "".join("\x1f".join(("couplet", *words)) + "\n" for words in lines)
        done = subprocess.run(["bash", "-u", "-c", COMPLETE, "bash", self.script], input=text, cwd=self.folder, capture_output=True,
                              text=True, timeout=120)
        check(done.returncode == 0 and done.stderr == "", f"bash: {done.returncode}, {done.stderr[:2000]}")
        found = [set(line.split("\x1f")) - {""} for line in done.stdout.splitlines()]
        check(len(found) == len(lines), f"{len(found)} lines of {len(lines)}")
        return found

    def expect(self, cases):
        for (words, expected), found in zip(cases, self.offers([words for words, _ in cases])):
            check(found == set(expected), f"couplet {' '.join(words)}: offers {sorted(found)}, expected {sorted(expected)}")


def check_completion(program, told, work):
    script = work / "couplet.bash"
    script.write_text(program.works("completion", "bash"))
    program.refuses(2, ["zsh", "bash"], "completion", "zsh")
    run = work / "runs" / "first run"
    for stage in ("teacher", "coupling/nf", "student/nf-0"):
        (run / stage).mkdir(parents=True)
        (run / stage / "stage.json").touch()
    (run / "student/$(touch made)").mkdir()
    (run / "student/$(touch made)/stage.json").touch()
    (work / "runs" / "plain.ini").touch()
    completion = Completion(script, work)

    cases = [((""), {*told.commands, "help"}), ("st", {"stage", "status"})]
    cases = [((words,), expected) for words, expected in cases]
    sections = {key.split(".")[0] for key in told.keys}
    for name in told.commands:
        flags = set(told.flags[name])
        expected = {f"--{flag}" if "." not in flag else f"--{flag.split('.')[0]}." for flag in flags - PLACEHOLDERS}
        if PLACEHOLDERS <= flags:
            expected |= {f"--{section}." for section in sections}
        if name == "submit":
            expected.add("--slurm.")
        cases.append(((name, "--"), expected))
    for section in sections:
        own = {key for key in told.keys if key.startswith(f"{section}.")}
        cases.append((("config", f"--{section}."), {f"--{key}" for key in own}))
        if section in ("student", "couple"):
            cases.append((("run", f"--{section}.wide."), {f"--{section}.wide.{key.split('.', 1)[1]}" for key in own}))
    for key, choices in told.choices.items():
        cases.append((("run", f"--{key}", ""), choices))
        cases.append((("run", f"--{key}", "=", choices[0]), {choice for choice in choices if choice.startswith(choices[0])}))
    cases += [
        (("run", "--pipeline.overlap", "="), {"true", "false"}),
        (("run", "--student.wide.network", ""), told.choices["student.network"]),
        (("run", "--pipeline.seed", ""), ()),
        (("run", "--config", "runs/p"), {"runs/plain.ini"}),
        (("run", "--run-dir", "runs/"), {"runs/first run"}),
        (("status", "runs/"), {"runs/first run"}),
        (("verify", "runs/"), {"runs/first run", "runs/plain.ini"}),
        (("logs", "-f", "runs/first run", "student"), {"student", "student/nf-0"}),
        (("logs", "--follow", "runs/first run", "coupl"), {"couple", "coupling/nf"}),
        (("logs", "--rank", "3", "runs/"), {"runs/first run"}),
        (("run", "--run-dir", "runs/first run", "--redo", "teach"), {"teacher"}),
        (("sample", "--run-dir", "runs/first run", "--model", ""), {"teacher", "nf-0"}),
        (("sample", "--run-dir", "runs/first\\ run", "--model", "n"), {"nf-0"}),
        (("sample", "--device", "c"), {"cpu", "cuda"}),
        (("compare", "runs/first run", "runs/"), {"runs/first run"}),
        (("submit", "--slurm.pro"), {"--slurm.profile", "--slurm.program"}),
        (("submit", "--slurm.student.ti"), {"--slurm.student.time"}),
        (("stage", "prep"), {"prepare"}),
        (("help", "sub"), {"submit"}),
        (("completion", ""), {"bash"}),
        (("sample", "--student."), ()),  # takes no keys
        (("nonsense", ""), ()),
    ]
    completion.expect(cases)
    check(not (work / "made").exists(), "completion has run a command that is a folder's name")
    print(f"completion: {len(cases)} command lines")


def in_one_line(text):
    return " ".join(text.split())


def check_page(program, told, work):
    page = work / "couplet.1"
    page.write_text(program.works("man"))
    source = page.read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "CONFIGURATION", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"):
        check(f"\n.SH {section}\n" in source, f"no section {section}")
    plain = source.replace("\\-", "-")
    for name in told.commands:
        check(f"\n.SS couplet {name}" in plain, f"{name} is not on the page")
        own = plain.split(f"\n.SS couplet {name}")[1].split("\n.SS ")[0]
        for flag in told.flags[name]:
            check(f"\\fB--{flag}\\fR" in own, f"{name} --{flag} is not on the page")
    for key in told.keys:
        check(f"\\fB{key}\\fR" in plain, f"{key} is not on the page")
    if not shutil.which("groff"):
        print("the page was not set: there is no groff")
        return
    done = subprocess.run(["groff", "-ww", "-k", "-man", "-Tutf8", "-P-cbou", "-rLL=100n", page], capture_output=True, text=True,
                          timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    check(done.returncode == 0 and done.stderr == "", f"groff: {done.returncode}, {done.stderr[:2000]}")
    shown = in_one_line(done.stdout)
    for name, flags in told.flags.items():
        for flag, help_text in flags.items():
            check(in_one_line(help_text) in shown, f"{name} --{flag}: the page does not say: {help_text}")
    print(f"page: {len(told.commands)} commands, {len(told.keys)} keys")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program = Program(arguments.couplet)
    told = Help(program)
    check_completion(program, told, arguments.work.resolve())
    check_page(program, told, arguments.work)


main()
