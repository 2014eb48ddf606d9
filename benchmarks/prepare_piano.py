"""How fast the piano band is rendered: three hours of training audio into an empty cache.

Run it as ``python benchmarks/prepare_piano.py``; ``--hours`` renders more or less.
"""

import argparse
import os
import tempfile
import time

from mircourse.training.cards import machine


def main():
    """Render and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MIRCOURSE_HOME"] = folder
        from mircourse.datasets.piano import instruments_heard, prepare

        started = time.perf_counter()
        seconds = sum(prepare(hours=arguments.hours).values())
        took = time.perf_counter() - started
    print(machine())
    print("instruments:", "; ".join(instruments_heard()))
    print(f"{seconds / 3600:.2f} h of audio in {took:.0f} s: {seconds / took:.0f} x real time")


if __name__ == "__main__":
    main()
