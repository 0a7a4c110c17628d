"""How the caller's table is read: its layout, and which column is what."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, model_validator

from growth.spec.part import PART

__all__ = ["Columns", "LayoutName"]

LayoutName: TypeAlias = Literal[
    "growth", "sgp", "sgp_wide", "caaspp", "cers", "ceds", "edfi", "district_wide"
]


class Columns(BaseModel):
    """How the caller's table is read."""

    model_config = PART

    layout: Literal["auto"] | LayoutName = "auto"
    """Naming scheme: the engine's own, the R package's long or wide table, California's student score file,
    a CERS export, CEDS or Ed-Fi names, a district's wide file; or recognised from the column names."""
    rename: dict[str, str] = {}
    """Own name -> the caller's column, for every column that the layout does not already find."""
    fixed: dict[str, str] = {}
    """Own name -> its value in every row, for a table without that column: a file of one year or subject."""
    year_from_file_name: bool = False
    """Take the year of a file without that column from its name, which must hold exactly one."""
    subjects: dict[str, str] = {}
    """Subject as the table writes it -> subject to use; others stay as they are."""
    carry: Literal["all"] | tuple[str, ...] = "all"
    """Columns that no choice needs and that are kept in the table all the same; others are not read."""
    delimiter: Literal["auto", ",", "^", "\t", ";", "|"] = "auto"
    """Between the fields of a text file; by default that which is most frequent in its header line."""
    encoding: Literal["utf-8", "cp1252", "utf-16"] = "utf-8"
    """Of a text file."""

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        twice = sorted(set(self.fixed) & set(self.rename))
        if twice:
            raise ValueError(f"columns.fixed and columns.rename both give {', '.join(twice)}: keep one")
        if self.year_from_file_name and ("year" in self.fixed or "year" in self.rename):
            raise ValueError(
                "columns.year_from_file_name and a year in columns.fixed or columns.rename: keep one"
            )
        return self
