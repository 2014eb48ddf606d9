"""The instant check: all three steps in the reader's own notebook, and a report at the end."""

from collections.abc import Callable, Sequence
from typing import Any

from mircourse.checks.calling import Outcome, call_all, refuses
from mircourse.checks.display import Report, show
from mircourse.checks.judging import Verdict, judge
from mircourse.checks.spec import Spec, find
from mircourse.errors import InputError

PRINTED_LINES = 8
MUCH_PRINTING = 200


def check(name: str, function: Callable[..., Any], *, seed: int | None = None) -> float:
    """Check a function, show a report, and return the points.

    Parameters
    ----------
    name : str
        The exercise: "lab2/decode".
    function : callable
        The function itself, without brackets.
    seed : int, optional
        Of the random inputs. By default every exercise has its own, so that a report does not change by itself.

    Returns
    -------
    float
        The points earned, a plain Python number: the last value of an nbgrader cell.

    Examples
    --------
    >>> from mircourse.checks import check
    >>> check("lab2/decode", decode)        # doctest: +SKIP
    """
    try:
        spec = find(name)
    except InputError as error:
        show(f"No check was made: {error}")
        return 0.0
    problem = _unusable(spec, function)
    if problem:
        show(f"{spec.function}: 0 of {spec.points:g} points\n  ✗ {problem}")
        return 0.0
    verdict, outcomes = examine(spec, function, spec.instant_seed if seed is None else seed)
    show(Report(verdict, _notes(outcomes), _printed(outcomes)))
    return float(verdict.points)


def examine(
    spec: Spec, function: Callable[..., Any], seed: int, *, name_mistake: bool = True
) -> tuple[Verdict, list[Outcome]]:
    """Draw, call and judge, and show nothing."""
    cases = spec.cases(seed)
    outcomes = call_all(function, cases, spec.seconds)
    return judge(spec, cases, outcomes, name_mistake=name_mistake), outcomes


def _unusable(spec: Spec, function: Any) -> str:
    if not callable(function):
        kind = type(function).__name__
        return (
            f"the check needs the function itself; it got a value of type {kind}. Write {spec.function} without "
            "brackets behind it."
        )
    own = refuses(function, len(spec.signature))
    if own is not None:
        wanted = ", ".join(spec.signature)
        return f"the function takes {own}; it will be called with ({wanted}). Restore the parameters of the stub."
    return ""


def _notes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    notes = []
    warned = dict.fromkeys(message for outcome in outcomes for message in outcome.warned)
    if warned:
        notes.append(f"Python warned on the way: {'; '.join(list(warned)[:3])}.")
    lines = sum(max(outcome.printed_lines, bool(outcome.printed)) for outcome in outcomes)
    if lines > MUCH_PRINTING:
        notes.append(
            f"The function printed {lines} lines in {len(outcomes)} calls, which slows it down; remove the print. "
            "It began with:"
        )
    elif lines:
        notes.append(f"The function printed {lines} lines in {len(outcomes)} calls, beginning with:")
    return tuple(notes)


def _printed(outcomes: Sequence[Outcome]) -> str:
    first = next((outcome.printed for outcome in outcomes if outcome.printed), "")
    lines = [line[:120] for line in first.splitlines()]
    return "\n".join(lines[:PRINTED_LINES])
