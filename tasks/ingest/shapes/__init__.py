"""What other tools export, read as error reports: one file a tool, behind one interface."""

from tasks.ingest.shapes.registry import recognised, shape_named, shapes
from tasks.ingest.shapes.shape import Fields, Join, NothingToCorrect, Row, Shape, Unusable

__all__ = [
    "Fields",
    "Join",
    "NothingToCorrect",
    "Row",
    "Shape",
    "Unusable",
    "recognised",
    "shape_named",
    "shapes",
]
