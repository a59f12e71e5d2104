"""The six steps: one folder each with `handler.py`, one worker each."""

from services.steps.loader import create, load_handlers

__all__ = ["create", "load_handlers"]
