"""The tests: real parts over mocks."""
