"""Run the projector alone: `python -m services.projector`."""

from services.projector import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("projector", create)
