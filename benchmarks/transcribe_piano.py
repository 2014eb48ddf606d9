"""How fast and in how much memory the shipped checkpoint transcribes, on one thread in fp32.

    python benchmarks/transcribe_piano.py RECORDING [--minutes 60]

Start-up (imports, weights, a first second of sound) is not counted. The recording is repeated until it is as long
as asked for.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from mircourse.piano.transcribe import load_checkpoint, transcribe
from mircourse.training.cards import machine


def main():
    """Transcribe and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--checkpoint", default="default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_checkpoint(arguments.checkpoint, device="cpu")
    transcribe(np.zeros(16000, dtype=np.float32), model)
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = arguments.recording, soundfile.info(arguments.recording).duration
        if arguments.minutes:
            path, rate = Path(folder) / "long.wav", soundfile.info(arguments.recording).samplerate
            sound = soundfile.read(arguments.recording, dtype="float32", always_2d=True)[0].mean(axis=1)
            times = int(np.ceil(arguments.minutes * 60 / seconds))
            with soundfile.SoundFile(path, "w", rate, 1) as long:
                for _ in range(times):
                    long.write(sound)
            seconds *= times
        started, busy = time.perf_counter(), time.process_time()
        notes = transcribe(path, model)
        took, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    print(machine())
    print(f"{seconds:.0f} s, {len(notes)} notes, in {took:.1f} s: {seconds / took:.0f} x real time")
    print(f"{busy:.1f} s of processor time: {seconds / busy:.0f} x real time; peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
