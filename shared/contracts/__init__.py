"""The words the services speak: commands, events, outcomes, subjects, errors."""
