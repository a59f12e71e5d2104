"""Who calls: one file for each kind of credential, and what is written down about its use."""
