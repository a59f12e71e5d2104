"""The step that puts a release live."""
