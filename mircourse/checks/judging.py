"""The third step of a check: plain arrays in, points and reasons out. Nothing of the learner's runs here."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mircourse.checks.calling import Outcome, call, call_all
from mircourse.checks.gaps import Gap, find_gap, shape_problem, wrong_cells
from mircourse.checks.sentences import nothing_sentence, stop_sentence
from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec

DTYPE_WORDS = {
    "f": "floating point",
    "i": "integers",
    "u": "unsigned integers",
    "b": "bool",
    "c": "complex numbers",
}

REFERENCE_SECONDS = 60.0

Parts = dict[str, np.ndarray | None]


@dataclass(frozen=True)
class Finding:
    """What one criterion came to.

    Attributes
    ----------
    status : {"right", "wrong", "waiting"}
        "waiting": right so far, but it only counts once another criterion is earned.
    points : float
        What it earned.
    sentence : str
        Why not, in words; empty where right.
    case : str
        The label of the first case that fails.
    gap : Gap or None
        The first difference, where values were compared.
    """

    criterion: Criterion
    status: str
    points: float
    sentence: str = ""
    case: str = ""
    gap: Gap | None = None


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes
    ----------
    points, maximum : float
    findings : tuple of Finding
        In the order of the spec's criteria.
    mistake : Misconception or None
        The known mistake that gives just these results, where only one does.
    """

    spec: Spec
    points: float
    maximum: float
    findings: tuple[Finding, ...]
    mistake: Misconception | None = None


# A notebook may have set NumPy to raise where a number leaves its range; the references are not meant by that.
@np.errstate(all="ignore")
def judge(
    spec: Spec, cases: Sequence[Case], outcomes: Sequence[Outcome], *, name_mistake: bool = True
) -> Verdict:
    """Compare what a function returned with the reference.

    Parameters
    ----------
    spec : Spec
    cases, outcomes : sequence, as long as one another
        The inputs, and what the function made of each.
    name_mistake : bool
        Whether to look for the misconception behind a wrong answer.
    """
    right = call_all(spec.reference, cases, REFERENCE_SECONDS)
    expected = _expected_parts(spec, cases, right)
    findings = [_find(spec, criterion, cases, outcomes, expected) for criterion in spec.criteria]
    if not any(f.status == "right" and not f.criterion.supporting for f in findings):
        findings = [
            Finding(f.criterion, "waiting", 0.0) if f.status == "right" and f.criterion.supporting else f
            for f in findings
        ]
    points = float(sum(f.points for f in findings))
    wrong = any(f.status == "wrong" for f in findings)
    mistake = _recognise(spec, cases, outcomes, right) if wrong and name_mistake else None
    return Verdict(spec, points, spec.points, tuple(findings), mistake)


def _expected_parts(
    spec: Spec, cases: Sequence[Case], right: Sequence[Outcome]
) -> list[dict[str, np.ndarray]]:
    results = []
    for case, outcome in zip(cases, right, strict=True):
        parts = {name: value for name, value in _parts(spec, outcome).items() if value is not None}
        if outcome.status != "value" or len(parts) < len(spec.returns):
            raise AssertionError(
                f"the reference of {spec.name} fails in the case '{case.label}': {outcome.stop}"
            )
        results.append(parts)
    return results


def _parts(spec: Spec, outcome: Outcome) -> Parts:
    """Take an answer apart into the arrays that the spec names; None for one that is not there."""
    names = [part.name for part in spec.returns]
    if len(names) == 1:
        return {names[0]: _as_array(outcome.value, spec.returns[0])}
    if isinstance(outcome.value, dict):
        return {part.name: _as_array(outcome.value.get(part.name), part) for part in spec.returns}
    values = outcome.value if isinstance(outcome.value, (tuple, list)) else ()
    padded = [*values, *[None] * len(names)][: len(names)]
    return {part.name: _as_array(value, part) for part, value in zip(spec.returns, padded, strict=True)}


def _as_array(value: Any, part: Part) -> np.ndarray | None:
    """Read a value as an array, lists too: what is only of the wrong type loses the points for form, no others."""
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    if array.dtype.kind not in "biufc":
        return None
    if not part.axes and array.size == 1:
        return array.reshape(())
    return array


def _find(
    spec: Spec,
    criterion: Criterion,
    cases: Sequence[Case],
    outcomes: Sequence[Outcome],
    expected: Sequence[dict[str, np.ndarray]],
) -> Finding:
    came_back = any(outcome.status == "value" for outcome in outcomes)
    for case, outcome, wanted in zip(cases, outcomes, expected, strict=True):
        if criterion.kind == "value" and criterion.key not in case.criteria:
            continue
        # A call that raised has lost its points already; form and inputs are judged by those that came back.
        if criterion.kind != "value" and came_back and outcome.status != "value":
            continue
        if outcome.status != "value":
            return Finding(criterion, "wrong", 0.0, stop_sentence(outcome, spec.seconds), case.label)
        if criterion.kind == "untouched":
            sentence, gap = _touched(spec, outcome), None
        elif criterion.kind == "form":
            sentence, gap = _form_problem(spec, outcome, wanted), None
        else:
            sentence, gap = _difference(spec, criterion, case, outcome, wanted)
        if sentence:
            return Finding(criterion, "wrong", 0.0, sentence, case.label, gap)
    return Finding(criterion, "right", float(criterion.points))


def _touched(spec: Spec, outcome: Outcome) -> str:
    if not outcome.changed:
        return ""
    names = " and ".join(f"`{spec.signature[i]}`" for i in outcome.changed)
    return f"the function writes into its input {names}: whoever called it still needs it. Work on a copy."


def _form_problem(spec: Spec, outcome: Outcome, expected: dict[str, np.ndarray]) -> str:
    """Say what is wrong with type, number of values, shape or dtype; empty where nothing is."""
    if outcome.value is None:
        return nothing_sentence(outcome.kind)
    first = spec.returns[0]
    if len(spec.returns) > 1:
        names = ", ".join(part.name for part in spec.returns)
        if outcome.kind not in ("tuple", "list", "dict"):
            return f"it should return {len(spec.returns)} values ({names}); it returns one."
        if outcome.kind != "dict" and len(outcome.value) != len(spec.returns):
            return f"it should return {len(spec.returns)} values ({names}); it returns {len(outcome.value)}."
    elif outcome.kind in ("list", "tuple", "dict"):
        make = ": np.array(...) makes one" if first.axes and outcome.kind != "dict" else ""
        wanted = "an array" if first.axes else "a single number"
        return f"it returns a {outcome.kind} where {wanted} is expected{make}."
    elif outcome.kind == "array of objects":
        return "it returns an array of Python objects: give np.array rows of equal length, or a dtype."
    elif np.ndim(outcome.value) and not first.axes:
        return f"it should return a single number; yours is an array of shape {np.shape(outcome.value)}."
    for part in spec.returns:
        value = _parts(spec, outcome)[part.name]
        if value is None:
            return f"the {part.name} is missing, or does not hold numbers."
        problem = shape_problem(part, expected[part.name], value)
        if problem:
            return problem
        if value.dtype.kind not in part.kinds:
            wanted = " or ".join(DTYPE_WORDS[kind] for kind in part.kinds)
            return f"the {part.name} should hold {wanted}; yours holds {DTYPE_WORDS[value.dtype.kind]}."
    return ""


def _difference(
    spec: Spec, criterion: Criterion, case: Case, outcome: Outcome, expected: dict[str, np.ndarray]
) -> tuple[str, Gap | None]:
    """Compare values; return the sentence ("" where all is right) and the gap."""
    if outcome.value is None:
        return nothing_sentence(outcome.kind), None
    actual = _parts(spec, outcome)
    for part in spec.returns:
        if criterion.part not in (None, part.name):
            continue
        one, other = expected[part.name], actual[part.name]
        if other is None:
            return _form_problem(spec, outcome, expected) or f"the {part.name} does not hold numbers.", None
        problem = shape_problem(part, one, other)
        if problem:
            return problem, None
        if criterion.view is not None:
            one, other = (
                np.asarray(criterion.view(one, *case.args)),
                np.asarray(criterion.view(other, *case.args)),
            )
        gap = find_gap(one, other, part, criterion, spec.rtol, spec.atol)
        if gap:
            coarse = " It was computed in half precision, which is too coarse." if _is_half(other) else ""
            named = f"the {part.name}: " if len(spec.returns) > 1 else ""
            return f"{named}{gap.sentence}{coarse} {criterion.hint}".rstrip(), gap
    return "", None


def _is_half(value: np.ndarray) -> bool:
    return value.dtype == np.float16


def _recognise(
    spec: Spec, cases: Sequence[Case], outcomes: Sequence[Outcome], right: Sequence[Outcome]
) -> Misconception | None:
    """Return the one misconception that gives these results; None where none or several do.

    First the results must agree in everything: values, exceptions, form, inputs written into. If no misconception
    does that, the mistake may have company (a wrong dtype, a forgotten special case); then it is enough to agree
    in the cases of the main criteria, as long as these are wrong. Where every call gives NaN, or stops, the results
    say too little.
    """
    if any(outcome.status in ("time", "skipped") for outcome in outcomes):
        return None
    if not any(_is_finite(spec, outcome) for outcome in outcomes):
        return None
    wrong = [not agree_in_value(spec, one, other) for one, other in zip(outcomes, right, strict=True)]
    # A wrong result rules most misconceptions out at once, so these cases come first.
    order = sorted(range(len(cases)), key=lambda i: not wrong[i])
    main = {
        criterion.key for criterion in spec.criteria if criterion.kind == "value" and not criterion.supporting
    }
    chosen = [i for i in order if main & set(cases[i].criteria)]

    @functools.cache
    def result(number: int, case: int) -> Outcome:
        return call(spec.misconceptions[number].function, cases[case].args, spec.seconds)

    numbers = range(len(spec.misconceptions))
    alike = [n for n in numbers if all(agree(spec, outcomes[i], result(n, i)) for i in order)]
    if not alike and any(wrong[i] for i in chosen):
        alike = [n for n in numbers if all(agree_in_value(spec, outcomes[i], result(n, i)) for i in chosen)]
    return spec.misconceptions[alike[0]] if len(alike) == 1 else None


def _is_finite(spec: Spec, outcome: Outcome) -> bool:
    values = _parts(spec, outcome).values()
    return outcome.status == "value" and all(
        value is not None and np.isfinite(value).all() for value in values
    )


def agree(spec: Spec, one: Outcome, other: Outcome) -> bool:
    """Whether two calls came to the same in everything that a criterion can see."""
    if not agree_in_value(spec, one, other) or one.changed != other.changed:
        return False
    if one.status != "value" or one.value is None:
        return True
    return _form(spec, one) == _form(spec, other)


def _form(spec: Spec, outcome: Outcome) -> tuple:
    """Return what the criterion of form looks at, apart from the shape."""
    kinds = (None if value is None else value.dtype.kind for value in _parts(spec, outcome).values())
    return outcome.kind in ("list", "tuple", "dict"), np.ndim(_first(outcome.value)), *kinds


def _first(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else 0


def agree_in_value(spec: Spec, one: Outcome, other: Outcome) -> bool:
    """Whether two calls came to the same numbers, or stopped with the same kind of exception."""
    if one.status != other.status:
        return False
    if one.status != "value":
        return one.stop is not None and other.stop is not None and one.stop.kind == other.stop.kind
    for a, b in zip(_parts(spec, one).values(), _parts(spec, other).values(), strict=True):
        if a is None or b is None:
            if a is not b:
                return False
        elif a.shape != b.shape or wrong_cells(a, b, spec.rtol, spec.atol).any():
            return False
    return True
