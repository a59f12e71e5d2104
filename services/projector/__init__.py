"""The status projector: folds the journal into the rows that people read."""

from services.projector.projector import create

__all__ = ["create"]
