"""What an audio file promises about its own length, read from the container without decoding it.

Decoders are lenient: of a download that broke off they return what is there, or print to the terminal from C code,
and nobody learns that the second half is missing. WAV and MP3 say in their headers how many bytes belong to them
and an Ogg stream says that it has ended, so a missing end can be told before anything is decoded. FLAC needs no
parser here: libsndfile reports its promised length and refuses to seek beyond what is there.

Sources: RIFF/RF64 (EBU Tech 3306), RFC 3533 (Ogg), ISO 11172-3 frame headers, the LAME "Xing/Info" tag.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

_MP3_BIT_RATES = {  # kbit/s of layer III: MPEG-1, then MPEG-2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_SEARCH = 65536  # bytes in which the first frame must begin; libmpg123 gives up at the same distance
_OGG_LONGEST_PAGE = 65307
# Programs that write to a pipe do not know the length and put 0x7FFFF000, 0x7FFFFFFF or 0xFFFFFFFF.
_NOT_A_LENGTH = 0x7FFF0000


@dataclass(frozen=True)
class Promise:
    """What a container says of its own length.

    Attributes
    ----------
    seconds : float or None
        Promised length; None where the container does not say.
    present : float
        Share of the promised data that the file holds, 1.0 for a whole file; 0.0 with ``seconds=None`` for a
        stream whose last page is cut.
    """

    seconds: float | None
    present: float


WHOLE = Promise(seconds=None, present=1.0)


def promise(path: Path) -> Promise:
    """Read what a WAV, MP3 or Ogg file promises; every other kind of file counts as whole.

    Parameters
    ----------
    path : pathlib.Path
        A file that exists.

    Returns
    -------
    Promise
    """
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] in (b"RIFF", b"RIFX") and start[8:12] == b"WAVE":
            return _wav_promise(file, path.stat().st_size, "<" if start[:4] == b"RIFF" else ">")
        if start[:4] == b"OggS":
            return _ogg_promise(file, path.stat().st_size)
        if is_mp3(path):
            return _mp3_promise(file, path.stat().st_size)
    return WHOLE


def is_mp3(path: Path) -> bool:
    """Tell whether a file begins, after an ID3 tag or other junk, with an MPEG layer III frame."""
    with path.open("rb") as file:
        return _first_mp3_frame(file) is not None


def mp3_with_length(path: Path) -> io.BytesIO | None:
    """Give an MP3 that does not say its length a header that does.

    libmpg123 guesses such a length from the first frame, and of a file with a variable bit rate all that lies
    beyond the guess would be lost. Here the frames are counted and a "Xing" frame with their number goes first.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    io.BytesIO or None
        None where the file is no MP3 or says its length.
    """
    with path.open("rb") as file:
        found = _first_mp3_frame(file)
        if found is None:
            return None
        offset, header = found
        file.seek(offset)
        audio = file.read()
    tag_at = _mp3_tag_at(header)
    if audio[tag_at : tag_at + 4] in (b"Xing", b"Info") or audio[36:40] == b"VBRI":
        return None
    frame = bytearray(_mp3_frame(header)[0])
    frame[:4] = (header | 1 << 16).to_bytes(4, "big")  # the bit that says: no checksum
    frame[tag_at : tag_at + 12] = struct.pack(">4sII", b"Xing", 1, _count_mp3_frames(audio))
    return io.BytesIO(bytes(frame) + audio)


def _count_mp3_frames(audio: bytes) -> int:
    position, count = 0, 0
    while position + 4 <= len(audio):
        length = _mp3_frame(int.from_bytes(audio[position : position + 4], "big"))[0]
        if length:
            count += 1
            position += length
        else:  # damage, or a tag at the end: look for the next frame
            position = audio.find(b"\xff", position + 1)
            if position < 0:
                break
    return count


def _wav_promise(file, size: int, order: str) -> Promise:
    position, bytes_per_second = 12, 0
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if name == b"fmt ":
            fields = file.read(12)
            if len(fields) == 12:
                bytes_per_second = struct.unpack(order + "HHII", fields)[3]
        if name == b"data":
            if length >= _NOT_A_LENGTH or not length or not bytes_per_second:
                return WHOLE
            there = size - position - 8
            return Promise(length / bytes_per_second, min(1.0, there / length))
        position += 8 + length + length % 2
    return WHOLE


def _ogg_promise(file, size: int) -> Promise:
    file.seek(max(0, size - 2 * _OGG_LONGEST_PAGE))
    tail = file.read()
    last = tail.rfind(b"OggS")
    header = tail[last : last + 27]
    if last < 0 or len(header) < 27:
        return Promise(None, 0.0)
    segments = header[26]
    table = tail[last + 27 : last + 27 + segments]
    end = last + 27 + segments + sum(table)
    ended = bool(header[5] & 4)
    if len(table) < segments or end > len(tail) or (end < len(tail) and not ended):
        return Promise(None, 0.0)
    return WHOLE


def _mp3_promise(file, size: int) -> Promise:
    found = _first_mp3_frame(file)
    if found is None:
        return WHOLE
    offset, header = found
    file.seek(offset)
    frame = file.read(200)
    tag_at = _mp3_tag_at(header)
    tag, flags, frames, length = struct.unpack(">4sIII", frame[tag_at : tag_at + 16].ljust(16, b"\0"))
    if tag not in (b"Xing", b"Info") or flags & 3 != 3 or not frames or not length:
        return WHOLE
    seconds = frames * (1152 if _is_mpeg1(header) else 576) / _mp3_frame(header)[1]
    return Promise(seconds, min(1.0, (size - offset) / length))


def _first_mp3_frame(file) -> tuple[int, int] | None:
    """Find the first frame header that another one follows: offset, header."""
    file.seek(0)
    start = file.read(10)
    offset = 0
    if start[:3] == b"ID3" and len(start) == 10:
        offset = 10 + (start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9])
    file.seek(offset)
    data = file.read(_MP3_SEARCH)
    for i in range(len(data) - 3):
        if data[i] != 0xFF:
            continue
        header = int.from_bytes(data[i : i + 4], "big")
        length = _mp3_frame(header)[0]
        if not length:
            continue
        following = data[i + length : i + length + 2]
        another = len(following) == 2 and following[0] == 0xFF and following[1] & 0xE0 == 0xE0
        if another:
            return offset + i, header
    return None


def _is_mpeg1(header: int) -> bool:
    return (header >> 19) & 3 == 3


def _mp3_tag_at(header: int) -> int:
    """Where in its frame the "Xing" tag stands: after the side information, which depends on the kind of frame."""
    mono = (header >> 6) & 3 == 3
    if _is_mpeg1(header):
        return 4 + (17 if mono else 32)
    return 4 + (9 if mono else 17)


def _mp3_frame(header: int) -> tuple[int, int]:
    """Length in bytes and sample rate of the layer III frame with this header; (0, 0) if it is none."""
    version, layer = (header >> 19) & 3, (header >> 17) & 3
    if header >> 21 != 0x7FF:
        return 0, 0
    bit_rate, sample_rate = (header >> 12) & 15, (header >> 10) & 3
    if version == 1 or layer != 1 or bit_rate in (0, 15) or sample_rate == 3:
        return 0, 0
    hertz = _MP3_SAMPLE_RATES[version][sample_rate]
    kilobits = _MP3_BIT_RATES[version == 3][bit_rate]
    return (144000 if version == 3 else 72000) * kilobits // hertz + ((header >> 9) & 1), hertz
