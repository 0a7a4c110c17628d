"""The charts themselves: Altair specifications, imported only when a picture is asked for."""

from growth.diagnose.charts import fit, scale, schools

__all__ = ["fit", "scale", "schools"]
