"""The composition root: flags in, a running server out. The only place that picks implementations."""
