"""Runs Workers in workerd: one process for each, inside the rules of the build sandboxes."""
