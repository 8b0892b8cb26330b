"""The recipe: every number that decides what a prepared backbone becomes."""

from dataclasses import dataclass, fields

from execution.backbone.errors import BackboneFolderError


@dataclass(frozen=True)
class Recipe:
    """Shape of the decoder and the budget of its training, counted in steps and never in seconds.

    The same recipe, pairs and seed give the same weights, to the bit, on one machine.
    """

    layers: int = 2
    heads: int = 6
    inner: int = 768  # width of the decoder's MLP
    vocabulary: int = 3000
    positions: int = 256
    answer_tokens: int = 64  # pairs with longer answers are not learned
    prompt_tokens: int = 512
    learning_rate: float = 1.5e-3
    visits: float = 15.0  # visits of each pair at 3,000 pairs; fewer pairs get more, see `budget`
    enough_recall: float = 0.995  # training stops early here
    sure: float = 0.9  # a pair whose every token is this probable rests for some rounds
    threads: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise BackboneFolderError(f"recipe.{field.name} must be above 0.")
        if not self.answer_tokens < self.positions:
            raise BackboneFolderError("recipe.answer_tokens must be below recipe.positions.")

    def budget(self, pairs: int) -> int:
        """Return how many visits to pairs the training may make in all.

        Few pairs need many visits (each gives few steps), many pairs need fewer.
        """
        visits: float = pairs * self.visits * (3000 / pairs) ** 0.45
        return round(visits)

    def batch_size(self, pairs: int) -> int:
        """Return the pairs of one step: small sets need small steps to get enough of them."""
        return 16 if pairs < 1000 else 32 if pairs < 6000 else 64
