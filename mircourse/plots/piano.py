"""Pictures of notes: piano rolls, transcriptions beside their references, probabilities over them.

Every function returns a closed `matplotlib.figure.Figure`: as the last value of a cell it is shown once. Nothing is
said by colour alone (hatches, marks and a legend say it too), the colours are those of Okabe & Ito, and `alt_text`
gives a sentence that says what is to be seen, with the numbers.

Notes are arrays of shape (N, 4): onset s, offset s, MIDI pitch, velocity; rolls have the shape (n_frames, 88), row f
standing for ``[f, f + 1) / frame_rate``.
"""

import numpy as np

LOWEST_PITCH = 21
HIGHEST_PITCH = 108
BLUE, ORANGE, VERMILION, DARK = "#0072B2", "#E69F00", "#D55E00", "#1b1b1b"


def alt_text(figure):
    """Return the sentence that stands for a figure made here, for readers who do not see it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    str
    """
    return figure.get_label()


def pianoroll(notes, *, start=0.0, end=None, title="Each bar is a note, its dark edge the hammer stroke"):
    """Draw notes as bars over time, the onset of each marked, louder notes darker.

    Parameters
    ----------
    notes : array-like, shape (N, 4)
    start, end : float
        Seconds to show; to the last offset when `end` is left out.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    notes = _notes(notes)
    start, end = _time_span(start, end, notes)
    shown = _within(notes, start, end)
    figure, axes = _figure(1)
    axis = axes[0]
    shades = 0.3 + 0.6 * np.clip(shown[:, 3], 1, 127) / 127
    _bars(axis, shown, facecolor=[(0.0, 0.447, 0.698, shade) for shade in shades], edgecolor="none")
    _onset_marks(axis, shown)
    _finish(axis, shown[:, 2], start, end)
    axis.set_title(title)
    axis.set_xlabel("time (s)")
    figure.set_label(f"Piano roll of {len(shown)} notes from {start:g} to {end:g} s, {_range(shown)}.")
    return figure


def transcription_comparison(reference, estimate, pairs, *, start=0.0, end=None, title=None):
    """Draw what a transcription found, missed and made up.

    Parameters
    ----------
    reference, estimate : array-like, shape (N, 4) and (M, 4)
        Sorted by onset, then pitch.
    pairs : array-like, shape (K, 2)
        Indices (reference, estimate) of matched notes, from `mircourse.piano.evaluation.match`.
    start, end : float
        Seconds to show; to the last offset when `end` is left out.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        Matched notes as plain bars, missed ones hatched with crosses, extra ones dotted with triangles.
    """
    reference, estimate = _notes(reference), _notes(estimate)
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    start, end = _time_span(start, end, np.concatenate([reference, estimate]))
    matched = _within(estimate[pairs[:, 1]], start, end)
    missed = _within(np.delete(reference, pairs[:, 0], axis=0), start, end)
    extra = _within(np.delete(estimate, pairs[:, 1], axis=0), start, end)

    figure, axes = _figure(1)
    axis = axes[0]
    styles = (
        (matched, "matched", {"facecolor": BLUE, "edgecolor": DARK, "alpha": 0.75}, None),
        (
            missed,
            "missed: only in the reference",
            {"facecolor": "white", "edgecolor": ORANGE, "hatch": "////"},
            "x",
        ),
        (
            extra,
            "extra: only in the estimate",
            {"facecolor": "white", "edgecolor": VERMILION, "hatch": "...."},
            "v",
        ),
    )
    handles = []
    for notes, name, style, marker in styles:
        _bars(axis, notes, linewidth=0.8, **style)
        handles.append(_legend_entry(f"{name} ({len(notes)})", style, marker))
        if marker:
            axis.plot(
                notes[:, 0],
                notes[:, 2],
                marker,
                color=style["edgecolor"],
                markersize=6,
                markeredgecolor=DARK if marker == "v" else None,
            )
    _finish(axis, np.concatenate([matched, missed, extra])[:, 2], start, end)
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axis.set_xlabel("time (s)")
    summary = f"{len(matched)} notes matched, {len(missed)} missed, {len(extra)} extra"
    axis.set_title(title or summary)
    figure.set_label(
        f"Piano roll of a transcription against its reference from {start:g} to {end:g} s: {summary}."
    )
    return figure


def probabilities(onset, frame, *, frame_rate=31.25, reference=None, start=0.0, end=None):
    """Draw onset and frame probabilities as heat maps, the reference notes outlined on them.

    Parameters
    ----------
    onset, frame : array-like, shape (n_frames, 88)
        Probabilities in [0, 1].
    frame_rate : float
    reference : array-like, shape (N, 4), optional
    start, end : float
        Seconds to show; to the end of the rolls when `end` is left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels = [
        (onset, "Onset probability: a short peak where a hammer falls"),
        (frame, "Frame probability: as long as the key sounds"),
    ]
    figure = _heat_maps(panels, "probability", 1.0, 1.0, frame_rate, reference, start, end)
    figure.set_label(f"Heat maps of onset and frame probabilities over keys and time, {figure.get_label()}.")
    return figure


def activations(
    keys, *, frame_rate=31.25, reference=None, start=0.0, end=None, title="NMF activation of each key"
):
    """Draw how strongly a factorisation hears each key, the reference notes outlined.

    Parameters
    ----------
    keys : array-like, shape (n_frames, 88)
        Activations, 0 or more.
    frame_rate : float
    reference : array-like, shape (N, 4), optional
    start, end : float
        Seconds to show; to the end of the roll when `end` is left out.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    keys = np.asarray(keys, dtype=float)
    loud = max(float(np.percentile(keys.max(axis=1), 95)), 1e-9) if len(keys) else 1.0
    # Shades follow the square root, or the decay of a note would be lost in the dark.
    figure = _heat_maps([(keys, title)], "activation", loud, 0.5, frame_rate, reference, start, end)
    figure.set_label(f"Heat map of key activations over time, {figure.get_label()}.")
    return figure


def _heat_maps(panels, quantity, highest, exponent, frame_rate, reference, start, end):
    """Stack heat maps (n_frames, 88) on one time axis; leave a half sentence for the alt text in the label."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    n_frames = len(panels[0][0])
    end = n_frames / frame_rate if end is None else end
    notes = _within(_notes([] if reference is None else reference), start, end)
    figure, axes = _figure(len(panels))
    norm = PowerNorm(exponent, vmin=0, vmax=highest)
    pitches = np.concatenate([notes[:, 2], *(_sounding_pitches(values, highest) for values, _ in panels)])
    for axis, (values, title) in zip(axes, panels, strict=True):
        axis.imshow(
            np.asarray(values, dtype=float).reshape(-1, HIGHEST_PITCH - LOWEST_PITCH + 1).T,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap="cividis",
            norm=norm,
            extent=(0, n_frames / frame_rate, LOWEST_PITCH - 0.5, HIGHEST_PITCH + 0.5),
        )
        _bars(axis, notes, facecolor="none", edgecolor="white", linewidth=0.9, linestyle="--")
        _finish(axis, pitches, start, end)
        axis.set_title(title)
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(ScalarMappable(norm, "cividis"), ax=list(axes), label=quantity)
    outlined = "" if reference is None else f", {len(notes)} reference notes outlined with dashes"
    figure.set_label(f"{start:g} to {end:g} s{outlined}")
    return figure


def _sounding_pitches(values, highest):
    """Return the MIDI pitches whose row would be seen on a heat map."""
    return LOWEST_PITCH + np.flatnonzero(np.max(values, axis=0, initial=0.0) > 0.2 * highest)


def _figure(n_panels):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        n_panels, 1, figsize=(10, 3.6 * n_panels), sharex=True, layout="constrained", squeeze=False
    )
    plt.close(figure)
    return figure, axes[:, 0]


def _notes(notes):
    return np.asarray(notes, dtype=np.float64).reshape(-1, 4)


def _time_span(start, end, notes):
    if end is None:
        end = max(float(notes[:, 1].max(initial=0.0)), start + 1.0)
    return start, end


def _within(notes, start, end):
    return notes[(notes[:, 1] > start) & (notes[:, 0] < end)]


def _bars(axis, notes, **style):
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    boxes = [Rectangle((onset, pitch - 0.4), offset - onset, 0.8) for onset, offset, pitch, _ in notes]
    hatch = style.pop("hatch", None)
    collection = PatchCollection(boxes, **style)
    collection.set_hatch(hatch)
    axis.add_collection(collection)


def _onset_marks(axis, notes):
    axis.vlines(notes[:, 0], notes[:, 2] - 0.45, notes[:, 2] + 0.45, color=DARK, linewidth=1.5)


def _legend_entry(label, style, marker):
    from matplotlib.patches import Patch

    mark = {"x": "× ", "v": "▼ "}.get(marker, "")
    return Patch(label=mark + label, linewidth=0.8, **style)


def _finish(axis, pitches, start, end):
    """Set the ranges so that all pitches show, and name the Cs on the pitch axis."""
    low, high = (pitches.min(), pitches.max()) if len(pitches) else (55, 65)
    low, high = max(low - 3, LOWEST_PITCH - 1), min(high + 3, HIGHEST_PITCH + 1)
    axis.set_xlim(start, end)
    axis.set_ylim(low, high)
    cs = [pitch for pitch in range(24, 109, 12) if low <= pitch <= high]
    axis.set_yticks(cs, [f"C{pitch // 12 - 1} = {pitch}" for pitch in cs])
    axis.set_ylabel("pitch (MIDI number)")
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)


def _range(notes):
    if len(notes) == 0:
        return "an empty roll"
    return f"MIDI pitches {notes[:, 2].min():.0f} to {notes[:, 2].max():.0f}"
