"""Run intake alone: `python -m services.intake`."""

from services.intake import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("intake", create)
