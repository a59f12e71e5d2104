"""Run one step alone: `python -m services.steps build`."""

import sys

from services.steps.loader import create
from shared.pipeline import BY_NAME
from shared.service import run_alone

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in BY_NAME:
        sys.exit(f"usage: python -m services.steps {{{'|'.join(BY_NAME)}}}")
    run_alone(sys.argv[1], create(sys.argv[1]))
