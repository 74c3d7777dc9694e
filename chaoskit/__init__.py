"""chaoskit: chaos and fault-injection tests that judge what was observed."""

__version__ = "0.1.0"
