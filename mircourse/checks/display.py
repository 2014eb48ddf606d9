"""Show a verdict: HTML in a notebook, plain text elsewhere. The same words in both."""

import html
import sys
from dataclasses import dataclass, field

from mircourse.checks.gaps import Gap
from mircourse.checks.judging import Finding, Verdict

SHOWN_GAPS = 2
MARKS = {"right": "✓", "wrong": "✗", "waiting": "–"}
WORDS = {"right": "right", "wrong": "not yet", "waiting": "counts once something else is right"}
# Okabe and Ito's blue, vermilion and grey: told apart by everybody, and readable on white and on black.
COLOURS = {"right": "#0072B2", "wrong": "#D55E00", "waiting": "#888888"}


@dataclass(frozen=True)
class Report:
    """A verdict with what was printed and warned about; IPython shows it as HTML, `print` as text."""

    verdict: Verdict
    notes: tuple[str, ...] = ()
    printed: str = ""
    _said: set[str] = field(default_factory=set, repr=False, compare=False)

    def _shows_gap(self, finding: Finding) -> bool:
        """Whether to show numbers: for the first gaps only, the others mostly say the same once more."""
        gaps = [f for f in self.verdict.findings if f.gap]
        return any(f is finding for f in gaps[:SHOWN_GAPS])

    def __str__(self) -> str:
        return "\n".join(self._text_lines())

    __repr__ = __str__

    def _text_lines(self):
        self._said.clear()
        verdict = self.verdict
        yield f"{verdict.spec.function}: {points(verdict.points)} of {points(verdict.maximum)} points"
        if verdict.mistake:
            yield f"  It looks as if: {verdict.mistake.sentence}"
        for finding in verdict.findings:
            yield f"  {MARKS[finding.status]} {_title(finding)}"
            reason = self._reason(finding)
            if reason:
                yield f"      {reason}"
                if finding.gap and self._shows_gap(finding):
                    yield from (f"      {line}" for line in _gap_text(finding.gap))
        for note in self.notes:
            yield f"  {note}"
        if self.printed:
            yield from (f"    | {line}" for line in self.printed.splitlines())

    def _reason(self, finding: Finding) -> str:
        """Return the explanation; the second time it is the same, only say so."""
        if not finding.sentence:
            return ""
        if finding.sentence in self._said:
            return "(for the same reason)"
        self._said.add(finding.sentence)
        return f"With {finding.case}: {finding.sentence}"

    def _repr_html_(self) -> str:
        self._said.clear()
        verdict = self.verdict
        whole = verdict.points == verdict.maximum
        colour = COLOURS["right" if whole else "wrong"]
        rows = "".join(self._finding_html(finding) for finding in verdict.findings)
        mistake = ""
        if verdict.mistake:
            sentence = html.escape(verdict.mistake.sentence)
            mistake = f'<p style="margin:6px 0"><b>It looks as if:</b> {sentence}</p>'
        notes = "".join(f'<p style="margin:6px 0">{html.escape(note)}</p>' for note in self.notes)
        if self.printed:
            notes += f'<pre style="margin:6px 0;font-size:85%">{html.escape(self.printed)}</pre>'
        return (
            f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:4px 0">'
            f'<p style="margin:4px 0"><b><code>{html.escape(verdict.spec.function)}</code>: '
            f"{points(verdict.points)} of {points(verdict.maximum)} points</b></p>{mistake}"
            f'<ul style="list-style:none;padding:0;margin:6px 0">{rows}</ul>{notes}</div>'
        )

    def _finding_html(self, finding: Finding) -> str:
        mark = (
            f'<span role="img" aria-label="{WORDS[finding.status]}" style="color:{COLOURS[finding.status]};'
            f'font-weight:bold">{MARKS[finding.status]}</span>'
        )
        reason = self._reason(finding)
        more = f'<div style="margin-left:20px">{html.escape(reason)}</div>' if reason else ""
        if finding.gap and self._shows_gap(finding) and not reason.startswith("("):
            more += _gap_html(finding.gap)
        return f'<li style="margin:3px 0">{mark} {html.escape(_title(finding))}{more}</li>'


def points(value: float) -> str:
    """Write points without needless decimals."""
    return f"{value:g}"


def _title(finding: Finding) -> str:
    earned = f"{points(finding.points)}/{points(finding.criterion.points)}"
    waiting = f" ({WORDS['waiting']})" if finding.status == "waiting" else ""
    return f"{finding.criterion.title} ({earned}){waiting}"


def _strip_text(gap: Gap) -> str:
    return "".join("·" if right else "✗" for right in gap.strip)


def _gap_text(gap: Gap) -> list[str]:
    lines = []
    if gap.strip:
        lines.append(f"by {gap.axis}: {_strip_text(gap)}")
    if gap.steps:
        head = gap.axis if gap.steps[0].isdigit() else ""
        table = [(head, *gap.steps), ("expected", *gap.expected), ("yours", *gap.actual)]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        for row in table:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return lines


def _gap_html(gap: Gap) -> str:
    parts = []
    if gap.strip:
        wrong = sum(not right for right in gap.strip)
        parts.append(
            f'<div style="margin-left:20px">by {html.escape(gap.axis)}: <code role="img" aria-label="{wrong} of '
            f'{len(gap.strip)} steps differ">{_strip_text(gap)}</code></div>'
        )
    if gap.steps:
        head = gap.axis if gap.steps[0].isdigit() else ""
        rows = [(head, gap.steps), ("expected", gap.expected), ("yours", gap.actual)]
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            + "".join(f'<td style="text-align:right">{html.escape(cell)}</td>' for cell in cells)
            + "</tr>"
            for name, cells in rows
        )
        parts.append(f'<table style="margin:2px 0 6px 20px">{body}</table>')
    return "".join(parts)


def show(report: Report | str) -> None:
    """Display a report where the reader looks: in the notebook if there is one, else on stdout."""
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
        if shell is not None and hasattr(shell, "kernel") and not isinstance(report, str):
            from IPython.display import display

            display(report)
            return
    try:
        print(report)
    except UnicodeEncodeError:  # a console that has no ticks and crosses
        text = str(report).replace("✓", "+").replace("✗", "x").replace("·", ".").replace("–", "-")
        print(text.encode("ascii", "replace").decode())
