"""From what is measured of a training to what is wrong with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.diagnosis.diagnosis import Diagnosis
from metricforge.evaluation.embedding_spread import FEWEST_DIMENSIONS

FEWEST_IMAGES = 32  # of a batch whose effective rank tells something
FEWEST_SECONDS = 20.0  # of waiting, which nobody minds in a training that short
FALL = 0.02  # of a validation score below its best
ERRORS = 2.0  # standard errors of a share of so many images, within which a difference may be chance


@dataclass(frozen=True)
class RunFacts:
    """What the doctor knows of a run before it begins.

    Args:
        updates: of the whole run.
        epochs: of the whole run.
        dimensions: of an embedding.
        batch: images of a batch.
        workers: that load images, of each process.
        rate: the learning rate as the config has it.
        resting: the value of each hinge loss, by the name it is logged under, where all embeddings are the same.
    """

    updates: int
    epochs: int
    dimensions: int
    batch: int
    workers: int
    rate: str
    resting: Mapping[str, float] = field(default_factory=dict)


class Doctor:
    """Remembers the latest readings, and makes each diagnosis once.

    Args:
        bounds: from where on it speaks.
        run: what is known of the run.
        said: kinds of diagnoses that were made before the run was resumed.
    """

    def __init__(self, bounds: Bounds, run: RunFacts, said: frozenset[str] = frozenset()) -> None:
        self.bounds = bounds
        self._run = run
        self._said = set(said)
        self._latest: deque[Mapping[str, float]] = deque(maxlen=bounds.readings)
        self._fastest: float | None = None
        self._waited = self._worked = 0.0
        self._best: dict[str, float] = {}

    def read(self, values: Mapping[str, float], epochs_done: float, seconds: float = 0.0) -> list[Diagnosis]:
        """What the ``values`` of a reading show, together with those before.

        Args:
            values: ``spread``, ``effective_rank``, ``active``, ``weight_change``, ``waiting`` and the losses, whatever
                there is.
            epochs_done: how far the training is.
            seconds: since the reading before.
        """
        self._latest.append(values)
        if "weight_change" in values:
            self._fastest = max(self._fastest or 0.0, values["weight_change"])
        if "waiting" in values:
            self._waited += values["waiting"] * seconds
            self._worked += seconds
        makers: list[Callable[[], Iterator[Diagnosis]]] = [self._collapse, self._margin, self._inactive, self._loader]
        if epochs_done >= 1:
            makers.append(self._rate)
        return self._new(makers)

    def validated(
        self,
        score: str,
        value: float,
        untrained: float | None,
        epochs_done: float,
        gap: tuple[float, float] | None,
        images: int,
    ) -> list[Diagnosis]:
        """What a validation shows.

        Args:
            score: the name of the score that the run goes by.
            value: its value now.
            untrained: that of the untrained feature on the same images.
            epochs_done: how far the training is.
            gap: recall@1 within batches of training and of validation classes.
            images: how many are validated; the fewer, the larger a difference has to be.
        """
        best = self._best[score] = max(value, self._best.get(score, value))
        half = epochs_done >= self._run.epochs / 2
        was = "" if untrained is None or untrained <= best or not half else " of the untrained feature"
        if was:
            assert untrained is not None
            best = untrained

        def make() -> Iterator[Diagnosis]:
            bound = self.bounds.untrained
            if (
                bound is not None
                and untrained is not None
                and half
                and value < untrained - max(bound, chance(untrained, images))
            ):
                yield self.below_untrained(score, value, "the untrained feature", untrained, "validation classes")
            if self.bounds.gap is not None and gap is not None and value < best - max(FALL, chance(best, images)):
                seen, unseen = gap
                if seen - unseen > self.bounds.gap:
                    yield Diagnosis(
                        "gap",
                        f"The model learns its training classes by heart: within a batch recall@1 is {seen:.2f} on "
                        f"training classes and {unseen:.2f} on validation classes, and {score} on these has fallen "
                        f"from {best:.3f}{was} to {value:.3f}. Train for fewer epochs, with a smaller learning rate of "
                        "the backbone, more augmentation or weight decay; best.pth has the best weights so far.",
                    )

        return self._new([make])

    def tested(self, score: str, value: float, baselines: Mapping[str, float], images: int) -> list[Diagnosis]:
        """What the test of so many ``images`` shows beside the ``baselines``, the same score of untrained models."""

        def make() -> Iterator[Diagnosis]:
            bound = self.bounds.untrained
            if bound is None:
                return
            above = {n: base for n, base in baselines.items() if value < base - max(bound, chance(base, images))}
            if above:
                name = max(above, key=above.__getitem__)
                yield self.below_untrained(score, value, f"the baseline {name!r}", above[name], "test classes")

        return self._new([make])

    def counted(self, unseen: int, classes: int, epochs_done: float) -> list[Diagnosis]:
        """What it means that ``unseen`` of the ``classes`` with a proxy had no image yet."""

        def make() -> Iterator[Diagnosis]:
            bound = self.bounds.unseen
            if bound is not None and epochs_done >= self._run.epochs / 2 and unseen > bound * classes:
                yield Diagnosis(
                    "proxies",
                    f"{unseen:,} of {classes:,} classes had no image in any batch of {epochs_done:g} epochs, so their "
                    "proxies are pushed away by every image and pulled by none. See which classes the sampler can "
                    "draw (fewer images than samples_per_class?), leave these classes out, or train longer.",
                )

        return self._new([make])

    def doubted(self, images: tuple[str, ...], known: int) -> list[Diagnosis]:
        """What it means that the label of ``images`` looks wrong, of the ``known`` ones seen often enough to tell."""

        def make() -> Iterator[Diagnosis]:
            bound = self.bounds.doubtful
            if bound is not None and len(images) > bound * known:
                yield Diagnosis(
                    "labels",
                    f"{len(images):,} of {known:,} training images ({100 * len(images) / known:.1f} %) are hardly "
                    "ever nearest to one of their own class, although their classmates are: their labels may be "
                    f"wrong. Look at them, such as {images[0]}, and at the whole set by `metricforge data check`.",
                    images,
                )

        return self._new([make])

    def below_untrained(self, score: str, value: float, name: str, base: float, classes: str) -> Diagnosis:
        """The diagnosis of a ``value`` below that of the untrained model ``name``."""
        return Diagnosis(
            "untrained",
            f"Training makes it worse: {score} is {value:.3f} on the {classes}, and {base:.3f} for {name}. Lower the "
            "learning rate, of the backbone above all (paramwise_cfg), check the labels, or use what was there before.",
        )

    def _new(self, makers: list[Callable[[], Iterator[Diagnosis]]]) -> list[Diagnosis]:
        made = [one for make in makers for one in make() if one.kind not in self._said]
        self._said |= {one.kind for one in made}
        return made

    def _always(self, name: str) -> list[float] | None:
        """The latest values of ``name``; None unless there are as many as it takes."""
        values = [reading[name] for reading in self._latest if name in reading]
        return values if len(values) == self.bounds.readings else None

    def _collapse(self) -> Iterator[Diagnosis]:
        spreads, ranks = self._always("spread"), self._always("effective_rank")
        flat = self.bounds.spread is not None and spreads is not None and max(spreads) < self.bounds.spread
        telling = self._run.dimensions >= FEWEST_DIMENSIONS and self._run.batch >= FEWEST_IMAGES
        thin = telling and self.bounds.rank is not None and ranks is not None and max(ranks) < self.bounds.rank
        if (flat or thin) and spreads and ranks:
            what = "are nearly all the same" if flat else "lie nearly on one line"
            yield Diagnosis(
                "collapse",
                f"The embeddings have collapsed: those of a batch {what} (spread {spreads[-1]:.2g} of their length, "
                f"effective rank {ranks[-1]:.1f} of {self._run.dimensions}). Lower the learning rate or warm it up, "
                "and take semi-hard or random tuples instead of the hardest.",
            )

    def _margin(self) -> Iterator[Diagnosis]:
        for name, resting in self._run.resting.items():
            values = self._always(name)
            if self.bounds.margin is None or values is None or resting <= 0:
                continue
            if max(abs(value - resting) for value in values) <= self.bounds.margin * resting:
                yield Diagnosis(
                    "margin",
                    f"The loss is stuck at {resting:g}, its margin, which is what it is where positives are as far as "
                    "negatives. Lower the learning rate or warm it up, and take semi-hard or random tuples instead of "
                    "the hardest.",
                )

    def _inactive(self) -> Iterator[Diagnosis]:
        values = self._always("active")
        if self.bounds.active is not None and values is not None and max(values) < self.bounds.active:
            yield Diagnosis(
                "inactive",
                f"The loss has next to nothing left to learn from: {100 * values[-1]:.2g} % of a batch's images get a "
                "gradient. If scores are good, training is done; otherwise take harder tuples (SemiHardTripletMiner, "
                "HardTripletMiner), a larger margin, or more classes in a batch.",
            )

    def _rate(self) -> Iterator[Diagnosis]:
        if self.bounds.movement is None or self._fastest is None:
            return
        reach = self._fastest * self._run.updates
        if reach < self.bounds.movement:
            yield Diagnosis(
                "rate",
                f"The weights hardly move: at the present rate by at most {100 * reach:.1g} % of their length in all "
                f"{self._run.updates:,} updates. Raise optim_wrapper.optimizer.lr (now {self._run.rate}), or see what "
                "the schedule makes of it.",
            )

    def _loader(self) -> Iterator[Diagnosis]:
        if self.bounds.waiting is None or self._waited < FEWEST_SECONDS:
            return
        share = self._waited / self._worked
        if share > self.bounds.waiting:
            yield Diagnosis(
                "loader",
                f"The device waits for images {100 * share:.0f} % of the time. Raise train_dataloader.num_workers (now "
                f'{self._run.workers}), keep decoded images (train_dataloader.cache="FOLDER"), or store them smaller.',
            )


def chance(share: float, images: int) -> float:
    """By how much a ``share`` of so many ``images`` may differ by chance alone."""
    return ERRORS * (max(0.0, share * (1 - share)) / max(images, 1)) ** 0.5
