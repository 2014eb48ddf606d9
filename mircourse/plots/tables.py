"""Tables of scores in the form in which papers print them: HTML in a notebook, plain text elsewhere."""

import html
from collections.abc import Mapping

GROUPS = (("frame", "frame"), ("note", "note"), ("note_offset", "note with offset"))
MEASURES = (("precision", "P"), ("recall", "R"), ("f1", "F1"))


class TranscriptionTable:
    """Precision, recall and F1 of frames, notes, and notes with offset, in per cent.

    Parameters
    ----------
    rows : mapping of str to mapping of str to float
        System -> scores in [0, 1] as `mircourse.piano.evaluation.evaluate` names them; what is missing is a dash.
    caption : str
        Says what data the scores belong to.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, float]], caption: str):
        self.rows = {name: dict(scores) for name, scores in rows.items()}
        self.caption = caption

    def _cells(self, scores: Mapping[str, float]) -> list[str]:
        keys = [f"{group}_{measure}" for group, _ in GROUPS for measure, _ in MEASURES]
        return [f"{100 * scores[key]:.1f}" if key in scores else "–" for key in keys]

    def _repr_html_(self) -> str:
        groups = "".join(
            f'<th scope="colgroup" colspan="3" style="text-align:center">{title}</th>' for _, title in GROUPS
        )
        measures = "".join(f'<th scope="col">{title}</th>' for _ in GROUPS for _, title in MEASURES)
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            + "".join(f'<td style="text-align:right">{cell}</td>' for cell in self._cells(scores))
            + "</tr>"
            for name, scores in self.rows.items()
        )
        caption = f'<caption style="caption-side:top;text-align:left">{html.escape(self.caption)}</caption>'
        head = f'<tr><th rowspan="2" scope="col">system</th>{groups}</tr><tr>{measures}</tr>'
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        width = max([len(name) for name in self.rows] + [len("system")])
        lines = [self.caption]
        lines.append(" " * width + "".join(f"  {title:^20}" for _, title in GROUPS))
        lines.append(f"{'system':<{width}}" + f"  {'P':>6} {'R':>6} {'F1':>6}" * len(GROUPS))
        for name, scores in self.rows.items():
            cells = self._cells(scores)
            parts = [" ".join(f"{cell:>6}" for cell in cells[i : i + 3]) for i in range(0, 9, 3)]
            lines.append(f"{name:<{width}}  " + "  ".join(parts))
        return "\n".join(lines)


def transcription(rows: Mapping[str, Mapping[str, float]], *, caption: str) -> TranscriptionTable:
    """Tabulate scores; see `TranscriptionTable`."""
    return TranscriptionTable(rows, caption)
