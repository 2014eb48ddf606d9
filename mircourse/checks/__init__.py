"""Checks: say at once what is right in a learner's function, how far off the rest is, and which mistake it was.

In a notebook::

    from mircourse.checks import check
    check("lab2/decode", decode)

prints a report and returns the points, a plain ``float``: what an nbgrader cell needs as its last value.

Every exercise has one `mircourse.checks.spec.Spec`. Using it takes three steps that know nothing of one another, so
that an autograder can take the middle one elsewhere:

1. **draw**: ``spec.cases(seed)`` gives the inputs, plain arrays and scalars;
2. **call**: `mircourse.checks.calling.call_all` hands copies of them to the learner's function and gives back
   plain arrays, or what went wrong instead;
3. **judge**: `mircourse.checks.judging.judge` compares these with the reference, and gives the points, the gap and
   the name of the mistake.

Only NumPy is imported.
"""

from mircourse.checks.instant import check

__all__ = ["check"]
