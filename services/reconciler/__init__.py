"""The reconciler: repairs what a crash or a lost message left behind."""

from services.reconciler.reconciler import create

__all__ = ["create"]
