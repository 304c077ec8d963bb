"""The pictures that lie ready beside each diffusion network that ships, drawn anew.

    python -m benchmarks.gallery [CHECKPOINT ...]

Sixteen seeds by DDIM in 40 steps, written to `pictures.png` in each folder; tab Generate opens with them. A test holds
them to the weights: after another training they must be drawn again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.checkpoint.sources import find_checkpoint, list_shipped
from redistill.diffusion.gallery import SEEDS, write_gallery


def main() -> None:
    """Draw, and print where the files lie."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="folder, or name of one that ships")
    names = parser.parse_args().checkpoints or [name for name in list_shipped() if _draws(name)]
    for name in names:
        folder = Path(find_checkpoint(name))
        print(write_gallery(folder.name, folder, load_unet(folder), load_scheduler(folder)), flush=True)
    print(f"gallery networks={len(names)} pictures={len(names) * len(SEEDS)}")


def _draws(name: str) -> bool:
    return read_metadata(name).student.task == "diffusion"


if __name__ == "__main__":
    main()
