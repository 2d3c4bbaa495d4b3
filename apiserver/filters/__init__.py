"""What every request passes before it reaches the API: `chain.py` puts the filters in order, each has its own file."""

from apiserver.filters.authentication import AuthenticationAttempts
from apiserver.filters.chain import ChainOptions, build_handler_chain
from apiserver.filters.request_info import RequestInfoFactory, is_long_running

__all__ = ["AuthenticationAttempts", "ChainOptions", "RequestInfoFactory", "build_handler_chain", "is_long_running"]
