"""What every service shares: the pipeline table, the contracts, the worker, the adapters."""
