"""Service accounts: their names, the tokens that are made for them, and checking those."""

from apiserver.authn.service_accounts.names import group_names, split_username, username

__all__ = ["group_names", "split_username", "username"]
