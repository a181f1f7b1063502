"""What can go wrong, shaped by what the caller does about it.

DivconError
  ConfigError    you must change something: a file, a key, a path, a flag
  ModelError     worth another try: a server, a connection, a reply
"""


class DivconError(Exception):
    """Everything divcon raises on purpose; its text is one sentence for the person at the keyboard."""


class ConfigError(DivconError):
    """The same call will fail again until something is changed."""


class ModelError(DivconError):
    """A model did not answer; the same call may succeed later."""
