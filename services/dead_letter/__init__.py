"""Dead letters: commands that used up their deliveries are kept, explained, and end their deployment."""

from services.dead_letter.dead_letter import create

__all__ = ["create"]
