"""Custom domains: their names, their states, and what is looked at to tell them."""

CHALLENGE = "_zepid-challenge."
"""In front of a host name: where its TXT record is looked for."""
SITE_PATH = "/_edge/site"
"""Where the edge says the name of the site that a custom domain leads to."""
