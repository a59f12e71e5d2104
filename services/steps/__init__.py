"""The six steps: one folder each with `handler.py`; `loader.py` puts a worker around each."""
