"""The service behind a port."""
