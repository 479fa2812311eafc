"""A record of proofs that lasts as long as its test."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hyperion.format.file_state import FileState


class InMemoryProofRecord:
    """Implements ports.ProofRecord."""

    def __init__(self) -> None:
        self.proofs: dict[tuple[FileState, str], datetime] = {}

    def recall(self, files: Iterable[tuple[FileState, str]]) -> dict[tuple[FileState, str], datetime]:
        return {file: self.proofs[file] for file in files if file in self.proofs}

    def remember(self, files: Iterable[tuple[FileState, str]], began_at: datetime) -> None:
        moment_ns = int(began_at.timestamp()) * 1_000_000_000
        for state, digest in files:
            if state.is_settled(moment_ns):
                self.proofs[state, digest] = began_at
