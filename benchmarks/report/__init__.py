"""`melo bench report`: every table and plot of docs/benchmarks.md out of the records, nothing by hand.

    records ─ the last one of each command ─► a section each: tables, plots, command, machine

Plots are SVG files beside the page, in a folder of its name.
"""

from benchmarks.report.page import render, write_page

__all__ = ["render", "write_page"]
