"""The validate step: the project and its source can be deployed, and how."""
