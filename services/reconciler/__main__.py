"""Run the reconciler alone: `python -m services.reconciler`."""

from services.reconciler import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("reconciler", create)
