"""Custom domains: looks for proof of ownership and whether they lead to their sites."""

from services.domains.domains import create

__all__ = ["create"]
