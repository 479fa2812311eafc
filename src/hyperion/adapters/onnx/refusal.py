"""Why a graph is refused before the engine sees it; whoever read the graph says of which file."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it becomes the error of a package or of a source
    """A rule that a graph breaks.

    Attributes:
        code: Stable, begins with ``model.``.
        fault: What is wrong, without the file.
        hint: What to do.
    """

    def __init__(self, code: str, fault: str, *, hint: str | None = None) -> None:
        super().__init__(fault)
        self.code = code
        self.fault = fault
        self.hint = hint or "do not use it unless you know who made it; its maker can export it again"
