"""What an exercise is made of: its inputs, its reference, its points, and the mistakes that people make in it."""

import difflib
import importlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mircourse.errors import InputError

# Exercise name -> the module that holds its SPEC; a module is imported when its exercise is checked.
EXERCISES = {
    "lab2/onset_targets": "mircourse.checks.lab2.onset_targets",
    "lab2/frame_weights": "mircourse.checks.lab2.frame_weights",
    "lab2/weighted_frame_loss": "mircourse.checks.lab2.weighted_frame_loss",
    "lab2/frame_head": "mircourse.checks.lab2.frame_head",
    "lab2/decode": "mircourse.checks.lab2.decode",
}


@dataclass(frozen=True)
class Case:
    """One call: the positional arguments (plain arrays, scalars, tuples of them) and what it is there for.

    Attributes
    ----------
    args : tuple
        Handed to the learner's function, as copies, in this order. The last ones may be left to their defaults.
    label : str
        What is special about the case, for a person: "a note shorter than its label".
    criteria : tuple of str
        Keys of the criteria that look at it.
    """

    args: tuple
    label: str
    criteria: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One array (or scalar) of what the function returns.

    Attributes
    ----------
    name : str
        "onset roll"; also the key where the function returns a dictionary.
    axes : tuple of str
        Names of the axes, time first: ``("frame", "key")``; empty for a scalar.
    columns : tuple of str
        For a table (axes ``(row name, "column")``): what its columns hold.
    kinds : str
        NumPy's dtype kinds that are accepted: "f" for floating point, "fiu" for any real number.
    where : callable or None
        ``where(*index) -> str`` tells a position in the reader's words; by default "frame 3, key 39".
    """

    name: str
    axes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    kinds: str = "f"
    where: Callable[..., str] | None = None


@dataclass(frozen=True)
class Criterion:
    """Something that earns points, all or nothing: right in all of its cases.

    Attributes
    ----------
    key, title : str
        The name that cases use, and the line that the learner reads.
    points : float
    view : callable or None
        ``view(value, *args)`` picks what this criterion looks at from an output array and the arguments of the
        call; None looks at everything. It is applied alike to the expected and to the actual value, after the
        shapes have been compared.
    part : str or None
        Look at this part only; a view needs one where the function returns several.
    axes, columns : tuple of str or None
        What the axes of the view are, where they are not those of the part.
    supporting : bool
        Counts only where some other criterion is earned too: what a function that does nothing would also get
        right (silence gives no notes, an input stays untouched) is worth nothing by itself.
    hint : str
        Said after the gap where the criterion fails, if the numbers alone would puzzle.
    kind : {"value", "form", "untouched"}
        Compare values; or look at type, shape and dtype; or at whether the inputs are as they were.
    """

    key: str
    title: str
    points: float
    view: Callable[..., Any] | None = None
    part: str | None = None
    axes: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    supporting: bool = False
    hint: str = ""
    kind: str = "value"


def form(points: float, title: str = "the result has the right type, shape and dtype") -> Criterion:
    """Points for returning an array of the right type, shape and dtype."""
    return Criterion("form", title, points, supporting=True, kind="form")


def untouched(points: float, title: str = "the inputs are left as they were") -> Criterion:
    """Points for not writing into the arguments."""
    return Criterion("untouched", title, points, supporting=True, kind="untouched")


@dataclass(frozen=True)
class Misconception:
    """A wrong implementation that people write, and the sentence a tutor would say to them.

    Attributes
    ----------
    key : str
        Short name, for statistics over a class.
    sentence : str
        Says what the answer does and what to think about; does not give the line away.
    function : callable
        The wrong implementation, called like the learner's.
    """

    key: str
    sentence: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Spec:
    """One exercise.

    Attributes
    ----------
    name : str
        "lab2/decode".
    function : str
        The name of the function that the learner writes; it is called with positional arguments.
    signature : tuple of str
        The names of the arguments.
    draw : callable
        ``draw(rng) -> list of Case``; random, rectangular, and always with every criterion in it.
    reference : callable
        The library's own implementation, or NumPy; called with the arguments of a case.
    returns : tuple of Part
        One part: the function returns it. Several: it returns a tuple in this order, or a dictionary.
    criteria : tuple of Criterion
    misconceptions : tuple of Misconception
    imports : tuple of str
        What an answer may import. What is not listed would do the exercise for the learner.
    rtol, atol : float
        Tolerance. The defaults let single precision pass, also where it is used only half of the way.
    seconds : float
        Time limit of one call.
    """

    name: str
    function: str
    signature: tuple[str, ...]
    draw: Callable[[np.random.Generator], Sequence[Case]]
    reference: Callable[..., Any]
    returns: tuple[Part, ...]
    criteria: tuple[Criterion, ...]
    misconceptions: tuple[Misconception, ...]
    imports: tuple[str, ...] = ("numpy", "math", "itertools", "collections")
    rtol: float = 1e-4
    atol: float = 1e-5
    seconds: float = 3.0

    @property
    def points(self) -> float:
        """The points of all criteria together."""
        return float(sum(criterion.points for criterion in self.criteria))

    @property
    def instant_seed(self) -> int:
        """The seed of the instant check: the same inputs, so the same report, every time."""
        return zlib.crc32(self.name.encode())

    def cases(self, seed: int) -> list[Case]:
        """Draw the inputs from a seed; every call gives fresh arrays."""
        return list(self.draw(np.random.default_rng(seed)))


def find(name: str) -> Spec:
    """Return the spec of an exercise.

    Raises
    ------
    InputError
        There is no exercise of that name; the message names the nearest one.
    """
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, n=1, cutoff=0.3)
        hint = f'did you mean "{near[0]}"?' if near else f"the exercises are: {', '.join(EXERCISES)}."
        raise InputError(f'there is no exercise called "{name}"; {hint}')
    return importlib.import_module(EXERCISES[name]).SPEC
