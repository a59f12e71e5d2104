"""Run the dead letter alone: `python -m services.dead_letter`."""

from services.dead_letter import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("dead-letter", create)
