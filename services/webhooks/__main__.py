"""Run the webhook sender alone: `python -m services.webhooks`."""

from services.webhooks import create
from shared.service import run_alone

if __name__ == "__main__":
    run_alone("webhooks", create)
