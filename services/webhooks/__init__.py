"""The webhook sender: tells organisations what became of their deployments and releases."""

from services.webhooks.sender import create

__all__ = ["create"]
