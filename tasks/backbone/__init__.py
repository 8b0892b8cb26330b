"""Backbones that are prepared here: a frozen pretrained encoder with a small part trained here."""

from execution.backbone.errors import BackboneFolderError, OutputTaken
from execution.backbone.record import read_record
from tasks.backbone.classifier import ClassifierRecipe, halves, prepare_classifier
from tasks.backbone.encoder import ENCODER_SHA256
from tasks.backbone.errors import EncoderMismatch, EncoderNotFound, NothingToLearn
from tasks.backbone.pairs import pairs_from_file, pairs_from_rows, read_rows
from tasks.backbone.prepare import prepare_backbone
from tasks.backbone.recipe import Recipe

__all__ = [
    "ENCODER_SHA256",
    "BackboneFolderError",
    "ClassifierRecipe",
    "EncoderMismatch",
    "EncoderNotFound",
    "NothingToLearn",
    "OutputTaken",
    "Recipe",
    "halves",
    "pairs_from_file",
    "pairs_from_rows",
    "prepare_backbone",
    "prepare_classifier",
    "read_record",
    "read_rows",
]
