"""Builds the parser's LALR tables for the wheel."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            # A checkout keeps its tables in the user's cache: its grammar changes.
            return
        sys.path.insert(0, str(Path(self.root, "compiler")))
        from fireproof.syntax.grammar import build_tables

        with tempfile.NamedTemporaryFile(prefix="nft-tables-", delete=False) as file:
            file.write(build_tables())
        self._tables = Path(file.name)
        build_data["force_include"][file.name] = "fireproof/grammar/nft-tables"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._tables.unlink(missing_ok=True)
