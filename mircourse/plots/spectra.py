"""Pictures of sounds: spectrograms with the notes on them, partials that coincide, partials that die away.

Every function returns a closed `matplotlib.figure.Figure`; lines differ in dash and mark as well as in colour.
"""

import numpy as np

from mircourse.plots.piano import BLUE, DARK, ORANGE, VERMILION

LINES = ((BLUE, "-", "o"), (VERMILION, "--", "s"), (DARK, ":", "^"), (ORANGE, "-.", "D"))
FLOOR_DB = -70.0


def bands(values, hertz, *, frame_rate, title, notes=None, quantity="log magnitude"):
    """Draw a spectrogram of bands that are not evenly spaced in frequency.

    Parameters
    ----------
    values : array-like, shape (n_frames, n_bands)
    hertz : array-like, shape (n_bands,)
        Centre of each band, ascending.
    frame_rate : float
        Frames per second; frame f is centred at f / frame_rate.
    title : str
    notes : array-like, shape (N, 4), optional
        Drawn as lines at their fundamental frequencies, from onset to offset.
    quantity : str
        What the shades stand for.

    Returns
    -------
    matplotlib.figure.Figure
    """
    values, hertz = np.asarray(values), np.asarray(hertz)
    figure, axis = _figure(4.2)
    left, right = -0.5 / frame_rate, (len(values) - 0.5) / frame_rate
    image = axis.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        extent=(left, right, -0.5, len(hertz) - 0.5),
    )
    ticks = [tick for tick in (100, 500, 1000, 2000, 4000, 8000) if hertz[0] <= tick <= hertz[-1]]
    axis.set_yticks(np.interp(ticks, hertz, np.arange(len(hertz))), [str(tick) for tick in ticks])
    for onset, offset, pitch, _ in [] if notes is None else np.asarray(notes).reshape(-1, 4):
        band = np.interp(440 * 2 ** ((pitch - 69) / 12), hertz, np.arange(len(hertz)))
        axis.plot([onset, offset], [band, band], color="white", linewidth=1.0)
        axis.plot(onset, band, "|", color="white", markersize=7, markeredgewidth=1.5)
    axis.set_xlim(max(left, 0), right)
    axis.set_title(title)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("frequency of the band (Hz)")
    figure.colorbar(image, ax=axis, label=quantity)
    return figure


def shared_partials(tones, sample_rate, *, title, upto=3000.0, cents=25.0):
    """Draw the spectra of two tones over each other and mark the partials that coincide.

    Parameters
    ----------
    tones : dict of str to (np.ndarray, float)
        Two entries: name -> (samples, fundamental in Hz).
    sample_rate : int
    title : str
    upto : float
        Hz.
    cents : float
        Partials closer than this count as one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _figure(3.8)
    partials = []
    for (name, (audio, fundamental)), (colour, dash, mark) in zip(tones.items(), LINES[:2], strict=True):
        spectrum = np.abs(np.fft.rfft(np.asarray(audio) * np.hanning(len(audio))))
        hertz = np.arange(len(spectrum)) * sample_rate / len(audio)
        level = 20 * np.log10(np.maximum(spectrum / spectrum.max(), 1e-6))
        shown = hertz <= upto
        axis.plot(hertz[shown], level[shown], color=colour, linestyle=dash, linewidth=1.2, label=name, zorder=3)
        wanted = np.arange(1, int(upto / fundamental) + 1) * fundamental
        # A string's partials lie a little above the multiples: mark the peak nearby.
        peaks = [_peak(hertz, level, frequency) for frequency in wanted]
        axis.plot(hertz[peaks], level[peaks], mark, color=colour, markersize=6, zorder=4)
        partials.append(hertz[peaks])
    apart = np.abs(1200 * np.log2(partials[0][:, None] / partials[1][None, :]))
    for frequency in partials[1][apart.min(axis=0) < cents]:
        axis.axvspan(frequency - 12, frequency + 12, color="0.82", zorder=1)
    axis.axvspan(np.nan, np.nan, color="0.82", label="both have a partial here")
    axis.set_xlim(0, upto)
    axis.set_ylim(FLOOR_DB, 5)
    axis.set_title(title)
    axis.set_xlabel("frequency (Hz)")
    axis.set_ylabel("level (dB)")
    axis.legend(loc="upper right")
    return figure


def _peak(hertz, level, frequency):
    near = np.flatnonzero(np.abs(hertz - frequency) < 0.03 * frequency)
    return near[np.argmax(level[near])]


def decays(seconds, levels, *, title):
    """Draw how levels fall with time.

    Parameters
    ----------
    seconds : array-like, shape (n,)
    levels : dict of str to array-like, shape (n,)
        Name -> level in dB.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _figure(3.4)
    for (name, level), (colour, dash, mark) in zip(levels.items(), LINES, strict=False):
        every = max(1, len(seconds) // 8)
        axis.plot(seconds, level, color=colour, linestyle=dash, marker=mark, markevery=every, label=name)
    axis.set_title(title)
    axis.set_xlabel("time after the hammer (s)")
    axis.set_ylabel("level (dB)")
    axis.grid(linewidth=0.4, alpha=0.5)
    axis.legend(loc="lower left")
    return figure


def shifted(spectra, *, bands_per_key, title):
    """Draw two spectra on a logarithmic axis as they are, and with the second moved onto the first.

    Parameters
    ----------
    spectra : dict of str to (np.ndarray, int)
        Two entries: name -> (values of the bands, MIDI pitch).
    bands_per_key : int
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    (name, (first, pitch)), (other, (second, other_pitch)) = spectra.items()
    shift = bands_per_key * (other_pitch - pitch)
    figure, axes = plt.subplots(2, 1, figsize=(10, 4.6), sharex=True, sharey=True, layout="constrained")
    plt.close(figure)
    moved = second[shift:]
    for axis, values, label in ((axes[0], second, other), (axes[1], moved, f"{other}, {shift} bands further down")):
        axis.plot(first, color=BLUE, label=name)
        axis.plot(values, color=VERMILION, linestyle="--", label=label)
        axis.legend(loc="upper right")
        axis.set_ylabel("log magnitude")
    axes[0].set_title(title)
    axes[1].set_xlabel(f"band ({bands_per_key} a semitone, from A0 = 27.5 Hz)")
    return figure


def _figure(height):
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(10, height), layout="constrained")
    plt.close(figure)
    return figure, axis
