"""Workers at the edge: who answers, their processes, the way to them and their way back."""

from services.edge.workers.bindings import Bindings
from services.edge.workers.carrying import ClientGone
from services.edge.workers.pool import Workers
from services.edge.workers.routing import is_for_worker

__all__ = ["Bindings", "ClientGone", "Workers", "is_for_worker"]
