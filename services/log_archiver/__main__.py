"""Run the log archiver alone: `python -m services.log_archiver`."""

from services.log_archiver import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("log-archiver", create)
