"""Run the gateway alone: `python -m services.gateway`."""

from services.gateway import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("gateway", create)
