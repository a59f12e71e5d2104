"""The Python client of the service's HTTP interface: typed, asynchronous, resumes its streams.

async with Client("http://127.0.0.1:3008", token) as client:
    project = await client.create_project("shop")
"""

from shared.client.api import Client
from shared.client.errors import ApiError, ClientError, ServerAway

__all__ = ["ApiError", "Client", "ClientError", "ServerAway"]
