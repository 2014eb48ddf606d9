"""Check the checks: ``python -m mircourse.checks.report [--answers FOLDER] [EXERCISE...]``.

For every exercise, from its spec and from a file of answers (``tests/answers/lab2/decode.py`` for "lab2/decode"):

- **caught**: wrong answers that lose points; bar 100 %;
- **named**: wrong answers of a known kind whose mistake is named, and rightly; bar 90 %;
- **passed**: right answers, written in other ways, that get all points; bar 100 %;
- **killed**: mutants of the solution (`mircourse.checks.mutants`) that lose points; bar 97 %. A mutant counts as
  equivalent, and not at all, only if it agrees with the solution on 1,000 random inputs; all of these are listed;
- **stub**: the points of the untouched stub; bar 0.

Wrong and right answers are checked with the exercise's own seed and four others, and count only if all agree;
mutants with the exercise's own seed. The status is 1 if a bar is missed.

A file of answers holds the solution under the exercise's own function name, and functions named
``right_...`` (another right answer), ``wrong_MISCONCEPTION__...`` (another way to make a known mistake),
``wrong__...`` (a mistake without a name) and ``stub...``.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mircourse.checks.calling import Outcome, call, call_all
from mircourse.checks.instant import examine
from mircourse.checks.judging import agree
from mircourse.checks.mutants import OPERATORS, Mutant, mutants
from mircourse.checks.spec import EXERCISES, Case, Spec, find

OTHER_SEEDS = (1, 2, 3, 4)
EQUIVALENCE_SEED = 1000
EQUIVALENCE_INPUTS = 1000
MUTANT_SECONDS = 2.0
NAMED_BAR, KILLED_BAR = 0.90, 0.97


@dataclass(frozen=True)
class Answers:
    """The answers to one exercise that its file holds."""

    source: str
    path: Path
    solution: Callable[..., Any]
    right: dict[str, Callable[..., Any]]
    wrong: dict[str, Callable[..., Any]]
    stubs: dict[str, Callable[..., Any]]


@dataclass(frozen=True)
class Result:
    """What the report says of one exercise: counts as (good, of how many), and what missed its bar."""

    name: str
    caught: tuple[int, int]
    named: tuple[int, int]
    passed: tuple[int, int]
    killed: tuple[int, int]
    equivalent: tuple[Mutant, ...]
    stub_points: float
    complaints: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every bar is met."""
        return (
            self.caught[0] == self.caught[1]
            and self.named[0] >= NAMED_BAR * self.named[1]
            and self.passed[0] == self.passed[1]
            and self.killed[0] >= KILLED_BAR * self.killed[1]
            and self.stub_points == 0
        )


def read_answers(spec: Spec, folder: Path) -> Answers:
    """Run an exercise's file of answers.

    Raises
    ------
    FileNotFoundError
        There is no such file: every exercise needs one.
    """
    path = folder / f"{spec.name}.py"
    source = path.read_text(encoding="utf-8")
    scope: dict[str, Any] = {"__name__": "answers"}
    exec(compile(source, str(path), "exec"), scope)
    by_prefix = {
        prefix: {name: value for name, value in scope.items() if name.startswith(prefix) and callable(value)}
        for prefix in ("right_", "wrong_", "stub")
    }
    return Answers(
        source, path, scope[spec.function], by_prefix["right_"], by_prefix["wrong_"], by_prefix["stub"]
    )


def report_on(spec: Spec, answers: Answers) -> Result:
    """Measure one exercise."""
    complaints: list[str] = []
    seeds = (spec.instant_seed, *OTHER_SEEDS)
    known = {misconception.key for misconception in spec.misconceptions}

    wrong: list[tuple[str, str, Callable[..., Any]]] = [
        (m.key, m.key, m.function) for m in spec.misconceptions
    ]
    for name, function in answers.wrong.items():
        key = name.removeprefix("wrong").partition("__")[0].removeprefix("_")
        if key and key not in known:
            raise ValueError(f"{answers.path}: {name} names no misconception of {spec.name}")
        wrong.append((name, key, function))
    caught = named = nameable = 0
    for name, key, function in wrong:
        verdicts = [examine(spec, function, seed)[0] for seed in seeds]
        loses = all(verdict.points < verdict.maximum for verdict in verdicts)
        said = {verdict.mistake.key if verdict.mistake else "" for verdict in verdicts}
        caught += loses
        nameable += bool(key)
        named += bool(key) and said == {key}
        if not loses:
            complaints.append(f"not caught: {name}")
        if said != {key}:
            complaints.append(f"named {said} instead of {key or 'nothing'}: {name}")

    right = {spec.function: answers.solution, "reference": spec.reference, **answers.right}
    passed = 0
    for name, function in right.items():
        verdicts = [examine(spec, function, seed, name_mistake=False)[0] for seed in seeds]
        full = all(verdict.points == verdict.maximum for verdict in verdicts)
        passed += full
        if not full:
            failing = next(f for v in verdicts for f in v.findings if f.status != "right")
            complaints.append(
                f"a right answer loses points: {name}: {failing.criterion.title}: {failing.sentence}"
            )

    killed, equivalent, survivors = _hunt(spec, answers)
    complaints.extend(f"mutant survives: {_describe(mutant)}" for mutant in survivors)

    if not answers.stubs:
        raise ValueError(f"{answers.path}: there is no stub")
    stub_points = max(
        examine(spec, stub, seed)[0].points for stub in answers.stubs.values() for seed in seeds
    )
    return Result(
        name=spec.name,
        caught=(caught, len(wrong)),
        named=(named, nameable),
        passed=(passed, len(right)),
        killed=(killed, killed + len(survivors)),
        equivalent=tuple(equivalent),
        stub_points=stub_points,
        complaints=tuple(complaints),
    )


def _hunt(spec: Spec, answers: Answers) -> tuple[int, list[Mutant], list[Mutant]]:
    """Return how many mutants the check kills, the equivalent ones, and those that get away."""
    hurried = dataclasses.replace(spec, seconds=MUTANT_SECONDS)
    killed, alive = 0, []
    for mutant in mutants(answers.source, spec.function, str(answers.path)):
        verdict, _ = examine(hurried, mutant.function, spec.instant_seed, name_mistake=False)
        if verdict.points < verdict.maximum:
            killed += 1
        else:
            alive.append(mutant)
    cases = list(_many_cases(spec)) if alive else []
    solved = call_all(answers.solution, cases, MUTANT_SECONDS)
    equivalent = [mutant for mutant in alive if _is_equivalent(spec, mutant, cases, solved)]
    return killed, equivalent, [mutant for mutant in alive if mutant not in equivalent]


def _many_cases(spec: Spec) -> Iterator[Case]:
    seed, count = EQUIVALENCE_SEED, 0
    while True:
        for case in spec.cases(seed):
            yield case
            count += 1
            if count == EQUIVALENCE_INPUTS:
                return
        seed += 1


def _is_equivalent(spec: Spec, mutant: Mutant, cases: Sequence[Case], solved: Sequence[Outcome]) -> bool:
    return all(
        agree(spec, call(mutant.function, case.args, MUTANT_SECONDS), outcome)
        for case, outcome in zip(cases, solved, strict=True)
    )


def _describe(mutant: Mutant) -> str:
    before, after = " ".join(mutant.before.split()), " ".join(mutant.after.split())
    return f"line {mutant.line}, {mutant.operator}: {before[:60]}  ->  {after[:60]}"


def _share(pair: tuple[int, int]) -> str:
    good, total = pair
    return f"{good}/{total} {100 * good / max(total, 1):.0f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mircourse.checks.report", description="Check the checks."
    )
    parser.add_argument("exercises", nargs="*", help=f"of {', '.join(EXERCISES)}; default: all")
    parser.add_argument("--answers", type=Path, default=Path("tests/answers"), help="folder of answers")
    options = parser.parse_args(arguments)

    print("Mutants: every place of the solution, with these operators:")
    for operator, words in OPERATORS.items():
        print(f"  {operator}: {words}")
    seeds = ", ".join(map(str, OTHER_SEEDS))
    print(
        f"Seeds: the exercise's own (a checksum of its name) and {seeds}; equivalence from {EQUIVALENCE_SEED} on.\n"
    )
    header = ("exercise", "caught", "named", "passed", "killed", "equivalent", "stub")
    widths = (26, 13, 13, 13, 15, 10, 4)
    print("  ".join(name.ljust(width) for name, width in zip(header, widths, strict=True)))
    results = []
    for name in options.exercises or EXERCISES:
        spec = find(name)
        result = report_on(spec, read_answers(spec, options.answers))
        results.append(result)
        shares = (_share(pair) for pair in (result.caught, result.named, result.passed, result.killed))
        cells = (name, *shares, str(len(result.equivalent)), f"{result.stub_points:g}")
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)
    for result in results:
        if result.complaints or result.equivalent:
            print(f"\n{result.name}")
        for complaint in result.complaints:
            print(f"  {complaint}")
        for mutant in result.equivalent:
            print(f"  equivalent: {_describe(mutant)}")
    missed = [result.name for result in results if not result.good]
    print(f"\nBars missed: {', '.join(missed)}" if missed else "\nEvery bar is met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
