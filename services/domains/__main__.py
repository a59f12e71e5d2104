"""Run the checks of custom domains alone: `python -m services.domains`."""

from services.domains import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("domains", create)
