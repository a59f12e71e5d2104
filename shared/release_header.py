"""The header by which an answer names the release it comes from: how a site is seen to be live."""

RELEASE_HEADER = "x-zepid-release"
NOTICE_HEADER = "x-zepid-notice"
"""What the edge has to say instead of an answer of the release, for whoever probes it: one line of ASCII."""
