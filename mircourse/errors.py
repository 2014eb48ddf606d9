"""Errors that speak to the person who caused them."""


class InputError(ValueError):
    """Something handed in from outside (a file, a folder, an option) cannot be used.

    The message is one sentence for a person: what was wrong, what was expected, what to do. The command
    line prints it without a traceback and exits with status 2.
    """
