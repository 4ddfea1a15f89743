"""The runtime against reference implementations, number by number; run by `make test-parity`."""
