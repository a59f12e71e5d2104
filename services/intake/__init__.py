"""Admission: which waiting deployments may start now."""

from services.intake.admission import create

__all__ = ["create"]
