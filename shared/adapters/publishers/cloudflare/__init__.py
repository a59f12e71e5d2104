"""Cloudflare as the place that serves sites: Workers for Platforms, or scripts of the account itself."""
