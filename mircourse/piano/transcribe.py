"""From a recording to notes, in memory that does not grow with its length.

The recording is read in blocks that overlap; each block's middle is kept, so that the recurrent networks have
heard something before and after every frame they are asked about. Cutting without overlap would break notes
at every seam.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from mircourse.errors import InputError
from mircourse.piano.decoding import NoteDecoder
from mircourse.piano.transcriber import HOP_LENGTH, SAMPLE_RATE, Reading, Transcriber

BLOCK_FRAMES = 1024  # 32.8 s kept of every block
MARGIN_FRAMES = 128  # 4.1 s heard on either side of it
SHORTEST = 4096  # samples; the longest analysis window needs as many


def load_checkpoint(name_or_path: str = "default", *, device: str = "auto") -> Transcriber:
    """Load a trained transcriber.

    Parameters
    ----------
    name_or_path : str
        `default`, the name of a packaged checkpoint, or a .safetensors file.
    device : {"auto", "cpu", "cuda", "mps"}

    Returns
    -------
    Transcriber
        In evaluation mode; its `card` attribute says what it was trained on and what it scored.

    Raises
    ------
    InputError
        If there is no such checkpoint, it is damaged, or it belongs to another system.
    """
    from mircourse.training.checkpoints import find_checkpoint
    from mircourse.training.checkpoints import load_checkpoint as load

    path = find_checkpoint("piano-harmonic" if name_or_path == "default" else name_or_path)
    weights, card = load(path, system="piano")
    model = Transcriber(card["size"])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{path} does not fit a piano model of size '{card['size']}'; choose another checkpoint or train again."
        ) from error
    model.card = card
    try:
        said = card.get("settings", {}).get("reading", {})
        model.reading = Reading(**{name: float(value) for name, value in said.items()})
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"The card beside {path} says in a way that is not known here how the model is read ({error}); update "
            "mircourse, or copy the checkpoint and its card again."
        ) from error
    return model.to(_device(device)).eval()


def _device(name: str) -> torch.device:
    available = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name not in available:
        raise InputError(f"There is no device '{name}'; choose one of {', '.join(available)}.")
    if not available[name]:
        raise InputError(f"This machine has no usable '{name}' device; choose 'cpu' or 'auto'.")
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    return torch.device(name)


def _overlapping(blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, int, int]]:
    """Cut a stream of samples into (block with margins, first frame to keep, frames to keep).

    Every block starts at a multiple of the hop, so that its frames are frames of the whole recording.
    """
    held, before = np.zeros(0, dtype=np.float32), 0  # `before`: frames of left margin inside `held`
    for samples in blocks:
        held = np.concatenate([held, samples])
        # One margin more than a block needs, so that what is left at the end is never less than its left margin.
        while len(held) >= (before + BLOCK_FRAMES + 2 * MARGIN_FRAMES) * HOP_LENGTH:
            done = before + BLOCK_FRAMES
            yield held[: (done + MARGIN_FRAMES) * HOP_LENGTH], before, BLOCK_FRAMES
            before = min(done, MARGIN_FRAMES)
            held = held[(done - before) * HOP_LENGTH :]
    frames = len(held) // HOP_LENGTH + 1 - before
    if len(held) < SHORTEST:
        held = np.pad(held, (0, SHORTEST - len(held)))
    yield held, before, frames


@torch.inference_mode()
def probabilities(blocks: Iterator[np.ndarray], model: Transcriber) -> Iterator[dict[str, np.ndarray]]:
    """Stream what the heads of a model say of consecutive spans of frames, each (frames, 88) float32.

    Probabilities of onset, frame and offset, velocity / 127, and shift in rows.
    """
    device = next(model.parameters()).device
    for samples, first, frames in _overlapping(blocks):
        logits = model(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))[None].to(device))
        yield {head: values[0, first : first + frames].cpu().numpy() for head, values in read_heads(logits).items()}


def read_heads(logits: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn logits into probabilities and velocities; a shift is not a logit and stays."""
    return {head: values if head == "shift" else torch.sigmoid(values) for head, values in logits.items()}


def transcribe(
    source: str | Path | np.ndarray, model: Transcriber, *, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """Transcribe a recording.

    Parameters
    ----------
    source : path or np.ndarray, shape (n,), floating point
        A file, or mono samples in [-1, 1] at `model.sample_rate`.
    model : Transcriber
        One with an onset head.
    progress : callable, optional
        Called with the seconds done so far.

    Returns
    -------
    np.ndarray, shape (N, 4)
        Onset s, offset s, MIDI pitch, velocity 1-127.

    Raises
    ------
    InputError
        If the file cannot be used (see `mircourse.audio.reading`), the samples are not mono and finite, or the model
        has no onset head.
    """
    from mircourse.audio.reading import blocks

    if isinstance(source, np.ndarray):
        stream: Iterator[np.ndarray] = iter([_mono(source)])
    else:
        stream = blocks(source, sample_rate=SAMPLE_RATE, block_seconds=10.0)
    reading = model.reading
    decoder = NoteDecoder(model.frame_rate, reading.onset_threshold, reading.frame_threshold)
    found, frames = [], 0
    for heads in probabilities(stream, model):
        if "onset" not in heads:
            raise InputError(
                f"A model of size '{model.size}' hears frames but no onsets, and cannot tell notes apart; choose a "
                "checkpoint of another size."
            )
        found.append(decoder.push(heads["onset"], heads["frame"], heads.get("velocity"), heads.get("shift")))
        frames += len(heads["frame"])
        if progress:
            progress(frames / model.frame_rate)
    found.append(decoder.finish())
    notes = np.concatenate(found)
    notes[:, :2] -= reading.onset_lead
    # What began before the recording is put at its start, and keeps a length that can be heard.
    notes[:, 0] = np.maximum(notes[:, 0], 0.0)
    notes[:, 1] = np.maximum(notes[:, 1], notes[:, 0] + 0.5 / model.frame_rate)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _mono(samples: np.ndarray) -> np.ndarray:
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise InputError(
            f"Samples must be one row of floating-point numbers in [-1, 1], not {samples.dtype} of shape "
            f"{samples.shape}; average the channels, and divide 16-bit samples by 32768."
        )
    if not np.isfinite(samples).all():
        raise InputError("The samples hold NaN or infinite values; replace them before transcribing.")
    return samples.astype(np.float32, copy=False)
