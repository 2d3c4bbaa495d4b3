"""A Kubernetes API server over `kvstore.client`."""
