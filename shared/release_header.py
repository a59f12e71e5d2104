"""The header by which an answer names the release it comes from: how a site is seen to be live."""

RELEASE_HEADER = "x-zepid-release"
