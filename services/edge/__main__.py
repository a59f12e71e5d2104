"""Run the edge alone: `python -m services.edge`."""

from services.edge import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("edge", create)
