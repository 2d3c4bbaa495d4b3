"""Calls to services that decide for the server: where they are, and a small HTTPS client with kept connections."""

from apiserver.webhooks.client import WebhookClient, WebhookError
from apiserver.webhooks.connection import Connection, ConnectionConfigError, load_connection
from apiserver.webhooks.retries import with_retries

__all__ = ["Connection", "ConnectionConfigError", "WebhookClient", "WebhookError", "load_connection", "with_retries"]
