"""Fetching a tree from a git server: what may be asked (here and at the gateway), and the program that asks.

`python -m shared.git` runs inside a sandbox, because what a server answers is untrusted: it fetches one commit, writes
its files below a folder, and prints a report. It never runs git, a hook or a filter, and has no credentials.
"""
