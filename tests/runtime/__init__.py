"""The runtime, with a tiny random model and its numpy twin."""
