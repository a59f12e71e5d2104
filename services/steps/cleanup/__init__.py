"""The step that runs on every path: the sandbox is gone, claim and slot are free."""
