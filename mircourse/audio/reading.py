"""Audio files in: mono float32 in [-1, 1] at the rate that a system wants, whole or in blocks of constant memory.

libsndfile decodes (WAV, FLAC, OGG/Opus, MP3, AIFF and more), channels are averaged, and soxr resamples as a
stream, so that blocks meet without seams: the blocks of a file, one after another, are the very samples that
`load` returns. Whatever cannot be read raises an `InputError` that says what is wrong with the file and what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from mircourse.audio.containers import is_mp3, mp3_with_length, promise
from mircourse.errors import InputError

SHORTEST_SECONDS = 0.05
_TOLERATED_SECONDS = 0.25  # what an end may fall short of its header and count as rounding, not as loss
_READ_SECONDS = 4.0
_NO_LENGTH = 2**62  # libsndfile's count of frames where a FLAC header does not tell
_KNOWN_ELSEWHERE = {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mov", ".amr", ".ape"}


def load(path: str | Path, *, sample_rate: int = 16000) -> np.ndarray:
    """Read a whole audio file as mono samples.

    Parameters
    ----------
    path : str or pathlib.Path
        A file that libsndfile reads: WAV, FLAC, OGG, MP3, AIFF, ...
    sample_rate : int
        Rate in Hz to which the file is resampled.

    Returns
    -------
    numpy.ndarray, shape (n,), float32
        Mean of the channels, in [-1, 1] for files that keep to full scale.

    Raises
    ------
    InputError
        If the file is missing, not audio, empty, shorter than 50 ms, cut off, or holds NaN or infinite samples.
    """
    return np.concatenate(list(blocks(path, sample_rate=sample_rate, block_seconds=_READ_SECONDS)))


def blocks(
    path: str | Path, *, sample_rate: int = 16000, block_seconds: float = 30.0
) -> Iterator[np.ndarray]:
    """Read an audio file block by block in constant memory.

    Parameters
    ----------
    path : str or pathlib.Path
        As for `load`.
    sample_rate : int
        Rate in Hz to which the file is resampled, across the borders of the blocks.
    block_seconds : float
        Length of a block in seconds; the last one may be shorter.

    Returns
    -------
    iterator of numpy.ndarray, shape (round(block_seconds * sample_rate),), float32
        Blocks that, put together, equal `load`.

    Raises
    ------
    InputError
        As for `load`: at once for what the file's header shows, on the way for what decoding shows.
    """
    if sample_rate < 1 or block_seconds * sample_rate < 1:
        raise InputError(
            f"A block of {block_seconds} s at {sample_rate} Hz holds no sample; ask for a longer one."
        )
    path = Path(path)
    _check(path)
    return _exact_blocks(_resampled(path, sample_rate), round(block_seconds * sample_rate))


def duration(path: str | Path) -> float:
    """Length of an audio file in seconds, from its header; nothing is decoded.

    Raises
    ------
    InputError
        As for `load`, as far as the header shows it.
    """
    return _check(Path(path))


def _check(path: Path) -> float:
    """Refuse what cannot be transcribed; return the length in seconds that the header tells."""
    try:
        if not path.exists():
            raise InputError(f"There is no file {path}; check the name and the folder.")
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, not an audio file; name files in it, as in {path / '*.wav'}."
            )
        if not path.is_file():
            raise InputError(f"{path} is not an ordinary file; copy the audio to a file first.")
        if not path.stat().st_size:
            raise InputError(f"{path} is empty (0 bytes); copy or record it again.")
        promised = promise(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}); check its name and who may read it."
        ) from error
    if promised.present < 1.0 and promised.seconds is None:
        raise InputError(
            f"{path} breaks off in the middle of its data, like an unfinished download; get it again, or save the part "
            "that is there as a new file."
        )
    if promised.seconds and (1 - promised.present) * promised.seconds > _TOLERATED_SECONDS:
        raise _cut_off(path, promised.seconds * promised.present, promised.seconds)
    with _opened(path) as file:
        frames, sample_rate, seconds = file.frames, file.samplerate, file.frames / file.samplerate
        if frames >= _NO_LENGTH:
            raise InputError(
                f"{path} does not say how long it is, as happens when a program writes FLAC through a pipe; write it "
                "again as an ordinary file."
            )
        if not frames:
            raise InputError(f"{path} holds no samples; record or export it again.")
        if seconds < SHORTEST_SECONDS:
            raise InputError(
                f"{path} lasts only {1000 * seconds:.3g} ms; give at least {1000 * SHORTEST_SECONDS:.0f} ms of audio."
            )
        if file.format == "FLAC":
            try:
                file.seek(frames - 1)
                file.read(1)
            except soundfile.LibsndfileError as error:
                raise _cut_off(path, None, frames / sample_rate) from error
    return seconds


def _cut_off(path: Path, there: float | None, promised: float) -> InputError:
    part = "less" if there is None else f"only about {there:.1f} s"
    return InputError(
        f"{path} breaks off: of the {promised:.1f} s that its header promises, {part} can be there; get it again, or "
        "save the part that is there as a new file."
    )


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    # libmpg123 complains to the terminal about text or noise named .mp3, so such files never reach it.
    if path.suffix.lower() == ".mp3" and not _has_signature(path) and not is_mp3(path):
        raise _not_audio(path)
    source = path if _has_signature(path) else mp3_with_length(path) or path
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a name that ends in .raw
        raise _not_audio(path) from error
    with file:
        yield file


def _has_signature(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"RIFF", b"RIFX", b"RF64", b"OggS", b"fLaC", b"FORM", b"caff", b".snd")


def _not_audio(path: Path) -> InputError:
    if path.suffix.lower() in _KNOWN_ELSEWHERE:
        kind = path.suffix[1:].upper()
        return InputError(
            f"{path} is a file of a kind ({kind}) not read here; convert it to WAV, FLAC, OGG or MP3."
        )
    return InputError(
        f"{path} is not audio that can be read, whatever its name says; give a WAV, FLAC, OGG or MP3 file."
    )


def _resampled(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    with _opened(path) as file:
        stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32")
        for samples in _mono(path, file):
            yield stream.resample_chunk(samples, last=False)
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(path: Path, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    position, step = 0, max(1, round(_READ_SECONDS * file.samplerate))
    while True:
        try:
            samples = file.read(step, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{path} is damaged after {position / file.samplerate:.1f} s and cannot be decoded further; get it "
                "again, or save the part before as a new file."
            ) from error
        if not len(samples):
            break
        finite = np.isfinite(samples).all(axis=1)
        if not finite.all():
            at = (position + int(np.argmin(finite))) / file.samplerate
            raise InputError(
                f"{path} holds samples that are not finite numbers, the first at {at:.3f} s; export it again as 16-bit "
                "or 24-bit audio."
            )
        position += len(samples)
        yield samples.mean(axis=1)
    if not position:
        raise InputError(f"{path} holds no samples that can be decoded; record or export it again.")


def _exact_blocks(pieces: Iterator[np.ndarray], length: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        if held < length:
            continue
        joined = np.concatenate(waiting)
        whole = held // length * length
        yield from joined[:whole].reshape(-1, length)
        waiting, held = [joined[whole:].copy()], held - whole
    if held:
        yield np.concatenate(waiting)
