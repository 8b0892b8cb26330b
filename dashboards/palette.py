"""Colours and names that mean the same on every page. Colour-blind safe; never colour alone."""

from __future__ import annotations

BLUE, ORANGE, GREEN, PURPLE = "#1f83c6", "#e08a00", "#009e73", "#b66a9b"
SKY, GREY, RED, OLIVE = "#56b4e9", "#8a8f98", "#d55e00", "#b8a200"

STATES = {
    "received": GREY,
    "held": ORANGE,
    "ready": SKY,
    "planned": BLUE,
    "trained": PURPLE,
    "active": GREEN,
    "rejected": RED,
    "superseded": OLIVE,
    "revoked": OLIVE,
    "expired": OLIVE,
}
FATES = {"serves": GREEN, "served": BLUE, "never served": GREY, "rejected": RED}
FATE_SHAPES = {
    "serves": "diamond",
    "served": "circle",
    "never served": "square",
    "rejected": "cross",
}
SEVERITIES = {
    "info": ":material/info:",
    "warning": ":material/warning:",
    "error": ":material/error:",
}
