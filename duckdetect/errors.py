"""The one exception for mistakes a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input or a bad setting; its text is one line: what is wrong, where, and the cure.

    The command line prints it to stderr and ends with exit code 2; everything else that goes wrong
    is a fault of ours and keeps its traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [f"UserError: {self}"]
