"""Audio files of every kind come in as mono float32, or one sentence says why not."""

import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr

from mircourse.audio import reading
from mircourse.errors import InputError


def tone(seconds, sample_rate, frequency=440.0):
    return 0.4 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)


def write(path, audio, sample_rate, **options):
    soundfile.write(path, audio, sample_rate, **options)
    return path


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def sentence(path):
    """The message of the one InputError that reading a file raises; one line, one sentence, naming the file."""
    with pytest.raises(InputError) as caught:
        reading.load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_gives_the_tone(tmp_path, suffix):
    path = write(tmp_path / f"x.{suffix}", tone(1.0, 16000), 16000)
    audio = reading.load(path)
    assert audio.dtype == np.float32 and abs(len(audio) - 16000) < 3000
    spectrum = np.abs(np.fft.rfft(audio[2000:14000] * np.hanning(12000)))
    assert abs(np.argmax(spectrum) * 16000 / 12000 - 440) < 3
    assert reading.duration(path) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_in_blocks_has_no_seams(tmp_path, sample_rate):
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, round(5.3 * sample_rate)).astype(np.float32)
    path = write(tmp_path / "x.wav", noise, sample_rate, subtype="FLOAT")
    whole = reading.load(path)
    np.testing.assert_allclose(whole, soxr.resample(noise, sample_rate, 16000), atol=1e-6)
    pieces = list(reading.blocks(path, sample_rate=16000, block_seconds=0.7))
    assert {len(piece) for piece in pieces[:-1]} == {11200}
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_channels_are_averaged(tmp_path):
    channels = np.stack([tone(0.5, 16000, 200 + 100 * k) for k in range(6)], axis=1)
    path = write(tmp_path / "x.wav", channels, 16000, subtype="FLOAT")
    np.testing.assert_allclose(reading.load(path), channels.mean(axis=1), atol=1e-6)


def test_silence_is_audio(tmp_path):
    assert not reading.load(write(tmp_path / "x.wav", np.zeros(16000), 16000)).any()


def test_no_such_file(tmp_path):
    assert "no file" in sentence(tmp_path / "absent.wav")


def test_a_folder(tmp_path):
    assert "folder" in sentence(tmp_path)


def test_text_named_wav_or_mp3(tmp_path, capfd):
    for name in ("x.wav", "x.mp3", "x.raw", "x.ogg"):
        (tmp_path / name).write_text("this is not audio\n" * 5000)
        assert "not audio" in sentence(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_noise_named_mp3_prints_nothing_of_its_own(tmp_path, capfd):
    (tmp_path / "x.mp3").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert "not audio" in sentence(tmp_path / "x.mp3")
    assert capfd.readouterr().err == ""


def test_formats_of_elsewhere_say_what_to_convert_to(tmp_path):
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    assert "convert it to WAV" in sentence(tmp_path / "x.m4a")


def test_no_bytes_and_no_samples(tmp_path):
    (tmp_path / "x.wav").touch()
    assert "empty" in sentence(tmp_path / "x.wav")
    assert "no samples" in sentence(write(tmp_path / "y.wav", np.zeros(0), 16000))


def test_one_millisecond(tmp_path):
    assert "1 ms" in sentence(write(tmp_path / "x.wav", tone(0.001, 16000), 16000))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path, value):
    audio = tone(2.0, 16000)
    audio[24000] = value
    assert "1.500 s" in sentence(write(tmp_path / "x.wav", audio, 16000, subtype="FLOAT"))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_that_breaks_off(tmp_path, capfd, suffix, share):
    rng = np.random.default_rng(1)
    audio = tone(10.0, 44100) + 0.1 * rng.standard_normal(441000)
    path = cut(write(tmp_path / f"x.{suffix}", audio, 44100), share)
    assert "breaks off" in sentence(path)
    with pytest.raises(InputError):  # before anything is decoded
        reading.blocks(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "flac", "wav"])
def test_a_stump_of_a_file(tmp_path, capfd, suffix):
    path = write(tmp_path / f"x.{suffix}", tone(3.0, 44100), 44100)
    path.write_bytes(path.read_bytes()[:30])
    sentence(path)
    assert capfd.readouterr().err == ""


def test_half_an_mp3_says_how_much_is_there(tmp_path):
    path = cut(write(tmp_path / "x.mp3", tone(20.0, 44100), 44100), 0.5)
    assert "of the 20.0 s" in sentence(path).replace("20.1", "20.0") and "about 10." in sentence(path)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize("quiet_first", [True, False])
def test_mp3_of_variable_bit_rate_without_a_length_is_read_to_its_end(tmp_path, quiet_first, sample_rate):
    rng = np.random.default_rng(3)
    halves = [1e-3 * tone(5.0, sample_rate), rng.uniform(-0.5, 0.5, 5 * sample_rate)]
    audio = np.concatenate(halves if quiet_first else halves[::-1])
    path = tmp_path / "x.mp3"
    write(path, audio, sample_rate, bitrate_mode="VARIABLE", compression_level=0.2)
    content = path.read_bytes()
    # The first frame holds nothing but the tag; the second one begins at the next header of the same kind.
    headless = tmp_path / "headless.mp3"
    headless.write_bytes(content[content.index(content[:2], 200) :])
    assert b"Xing" not in headless.read_bytes() and b"Info" not in headless.read_bytes()
    assert reading.duration(headless) == pytest.approx(10.0, abs=0.15)
    read = reading.load(headless)
    assert len(read) == pytest.approx(160000, abs=2400)
    loud = np.abs(read) > 0.1
    assert np.flatnonzero(loud)[0] == pytest.approx(80000 if quiet_first else 0, abs=2400)


def test_mp3_with_tags_around_it_is_whole(tmp_path):
    path = write(tmp_path / "x.mp3", tone(3.0, 44100), 44100)
    plain = path.read_bytes()
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(b"ID3\x03\0\0\0\0\x08\0" + bytes(1024) + plain + b"TAG" + bytes(125))
    assert len(reading.load(tagged)) == len(reading.load(path))


def test_wav_written_through_a_pipe_is_whole(tmp_path):
    path = write(tmp_path / "x.wav", tone(1.0, 16000), 16000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(reading.load(path)) == 16000


def test_damage_in_the_middle_of_a_flac(tmp_path):
    path = write(tmp_path / "x.flac", np.random.default_rng(2).uniform(-0.5, 0.5, 480000), 48000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    sentence(path)


def test_wrong_suffix_is_read_by_content(tmp_path):
    path = write(tmp_path / "x.mp3", tone(1.0, 16000), 16000)
    renamed = path.rename(tmp_path / "x.wav")
    assert len(reading.load(renamed)) > 15000
    other = write(tmp_path / "y.wav", tone(1.0, 16000), 16000).rename(tmp_path / "y.mp3")
    assert len(reading.load(other)) == 16000


MEASURE = """
import resource, sys
from mircourse.audio import reading
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = sum(len(block) for block in reading.blocks(sys.argv[1], sample_rate=16000, block_seconds=30))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not hasattr(resource, "RUSAGE_SELF"), reason="memory is measured by getrusage")
def test_a_long_file_is_streamed_in_constant_memory(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 22050, 1) as file:
        minute = tone(60, 22050)
        for _ in range(20):
            file.write(minute)
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    n_samples, grown = (int(field) for field in done.stdout.split())
    assert n_samples == 20 * 60 * 16000
    kilobytes = 1 if sys.platform != "darwin" else 1024
    assert grown < 60_000 * kilobytes  # the decoded file would take 76,800
