"""Options of ``lpbf-train``, and what is asked for by them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import yaml  # type: ignore[import-untyped]

from pipelines.console import UserError
from pipelines.runs.features import check_features
from pipelines.runs.scaling import scalar_targets
from pipelines.steps.tasks import Task  # noqa: TC001 - read by the command's parser
from pipelines.training.augmentation import check_symmetries

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class TrainOptions:
    """Training; the defaults are the published LPBF recipe.

    Parameters
    ----------
    data : str
        The store to train on: path or URL.
    targets : tuple of str
        Fields to predict: displacement_z, von_mises_stress, ...; a vector gives all its components.
    task : str
        final, the state of the finished part; next-step, the state after each step of the build from the one
        before; or any-step, the state after each step from its time and height alone.  The latter two need a
        store built with --steps all, and what is said of a case below holds for a step.
    increments : bool
        Of next-step: predict what a step adds to the state, rather than the state after it.
    across_removal : bool
        Of next-step and any-step: learn the steps, too, in which the part comes off the plate and springs.
    state_noise : float
        Of next-step: noise on the state before a step, drawn anew in every epoch, in standard deviations of
        each target (0.02, say), so that the model learns to go on from its own errors; 0 for none.
    pushforward : bool
        Of next-step: start each training step from the model's own prediction of the state before, with the
        same aim, which costs another evaluation.
    coordinate_scale : tuple of float
        What x, y and z are divided by, in mm.
    features : tuple of str
        Geometry features that the model sees besides positions: sdf, sdf_direction, axis_distance,
        on_surface.
    feature_scale : float
        What the distances among the features are divided by, in mm.
    augment : tuple of str
        Symmetries of which the group is made that a training case is drawn from anew in every epoch:
        mirror_x, mirror_y, rotate_z (by 90 degrees).
    subsample : int
        Nodes of a training case that take part in an epoch at most, drawn at random; 0 for all.
    epochs : int
        Passes over the training cases.
    min_steps : int
        Train for more epochs until so many steps are taken, which a store of few cases needs.
    max_steps : int
        Stop after so many steps, if epochs and min_steps ask for more; 0 for no limit.
    max_minutes : float
        Stop at the first step after so many minutes of training and validation; 0 for no limit.
    batch_size : int
        Cases per batch and device, unless there is a node budget.
    node_budget : int
        Nodes per batch and device at most, padding included, in cases of about one size; a larger case is
        a batch of its own.  0 for batches of `batch_size`.
    accumulate : int
        Batches per step; the gradient is that of the mean over all their cases.
    optimizer : str
        adamw; lion, for which its authors take a 3 to 10 times smaller learning rate and as much more
        weight decay; or muon, on the matrices of hidden layers, with AdamW on all else.
    schedule : str
        one_cycle, cosine, constant or exponential.  It follows the share that is used of the steps or,
        where that is larger, of max_minutes.
    learning_rate : float
        Peak of the schedule.
    warmup_fraction : float
        Share of the schedule before the peak.
    initial_divisor : float
        Peak over initial learning rate.
    betas : tuple of float
        Decay rates of the averages of AdamW (of the gradient and of its square) or of Lion.
    weight_decay : float
        Decoupled weight decay, on every parameter.
    gradient_clip : float
        Largest norm of the gradient of a step; 0 for no limit.
    ema_decay : float
        Decay per step of the average of the weights that is evaluated; 0 evaluates the latest.
    seed : int
        Of all that is random.  On a CPU, the same seed and number of threads give the same weights bit for
        bit; on other devices sums may be taken in another order, and differ by rounding.
    accelerator : str
        Kind of device: auto, cpu, gpu or mps.
    devices : int
        How many of them on each machine; torchrun tells it by itself.
    nodes : int
        Machines; torchrun tells it by itself.
    shard_nodes : int
        Share the mesh nodes of each case between so many devices, for cases too large for one.
    precision : str
        32-true, bf16-mixed or 16-mixed; weights are float32 in each.
    compile : bool
        Compile the model, which takes minutes at the start and needs a C++ compiler.
    num_workers : int
        Processes that read cases ahead, per device.
    checkpoint_minutes : float
        Least time between two writings of the checkpoint to resume from.
    members : int
        Train so many models from successive seeds, each with the whole budget; their mean predicts, and their
        spread tells how sure that is.
    examples : int
        Cases whose predictions are kept as files and pictures, from the best to the worst; 0 for none.
    """

    data: str
    targets: tuple[str, ...] = ("displacement_z",)
    task: Task = "final"
    increments: bool = True
    across_removal: bool = False
    state_noise: float = 0.0
    pushforward: bool = False
    coordinate_scale: tuple[float, float, float] = (30.0, 30.0, 60.0)
    features: tuple[str, ...] = ()
    feature_scale: float = 10.0
    augment: tuple[str, ...] = ()
    subsample: int = 0
    epochs: int = 250
    min_steps: int = 0
    max_steps: int = 0
    max_minutes: float = 0.0
    batch_size: int = 1
    node_budget: int = 0
    accumulate: int = 1
    optimizer: Literal["adamw", "lion", "muon"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant", "exponential"] = "one_cycle"
    learning_rate: float = 1e-3
    warmup_fraction: float = 0.1
    initial_divisor: float = 1e4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = 1
    nodes: int = 1
    shard_nodes: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    num_workers: int = 0
    checkpoint_minutes: float = 1.0
    members: int = 1
    examples: int = 3

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "accumulate", "devices", "nodes", "shard_nodes", "members")
        for name in (*positive, "learning_rate", "feature_scale"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name} must be positive, not {getattr(self, name)}")
        counts = ("min_steps", "max_steps", "num_workers", "examples", "seed", "node_budget", "subsample")
        amounts = ("max_minutes", "checkpoint_minutes", "weight_decay", "gradient_clip", "state_noise")
        for name in (*counts, *amounts):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} must not be negative, it is {getattr(self, name)}")
        for name, values in (("ema_decay", (self.ema_decay,)), ("betas", self.betas)):
            if not all(0 <= value < 1 for value in values):
                raise UserError(f"--{name} must be at least 0 and less than 1, not {getattr(self, name)}")
        if not 0 <= self.warmup_fraction <= 1:
            raise UserError(f"--warmup_fraction must be between 0 and 1, not {self.warmup_fraction}")
        if not self.initial_divisor >= 1:
            raise UserError(f"--initial_divisor must be at least 1, not {self.initial_divisor}")
        if not all(length > 0 for length in self.coordinate_scale):
            raise UserError(f"--coordinate_scale must be positive, not {self.coordinate_scale}")
        check_features(self.features)
        check_symmetries(self.augment)
        scalar_targets(self.targets)
        check_task(self)


@dataclass(frozen=True)
class FitOptions:
    """Fitting of a floor to training nodes.

    Parameters
    ----------
    data : str
        The store to fit to: path or URL.
    targets : tuple of str
        Fields to predict: displacement_z, von_mises_stress, ...; a vector gives all its components.
    task : str
        final, the state of the finished part, which is all that floors learn.
    max_nodes : int
        Fit to so many nodes at most, drawn at random from all training cases.
    seed : int
        Of the drawing.
    examples : int
        Cases whose predictions are kept as files and pictures, from the best to the worst; 0 for none.
    """

    data: str
    targets: tuple[str, ...] = ("displacement_z",)
    task: Task = "final"
    max_nodes: int = 200_000
    seed: int = 0
    examples: int = 3

    def __post_init__(self) -> None:
        if self.task != "final":
            raise UserError(
                f"--task {self.task}: floors learn the final state alone; train a model on the steps, whose "
                "scores hold the floor of these, too: the state before a step, unchanged"
            )
        if not self.max_nodes > 0:
            raise UserError(f"--max_nodes must be positive, not {self.max_nodes}")
        for name in ("seed", "examples"):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} must not be negative, it is {getattr(self, name)}")
        scalar_targets(self.targets)


def check_task(options: TrainOptions) -> None:
    """Raise `UserError` unless the options go with the task."""
    for name in ("state_noise", "pushforward"):
        if options.task != "next-step" and getattr(options, name):
            raise UserError(f"--{name} is for --task next-step; {options.task} sees no state")
    if options.pushforward and options.subsample:
        raise UserError("--subsample: --pushforward needs every node, to start from its prediction")
    if options.task == "final" and options.across_removal:
        raise UserError("--across_removal is for --task next-step and any-step, which learn steps")


OptionsT = TypeVar("OptionsT", bound=TrainOptions | FitOptions)

MAY_CHANGE_ON_RESUME = frozenset(
    {"data", "accelerator", "compile", "num_workers", "checkpoint_minutes", "examples"}
)
"""Options that say where and how to compute, and what to show, rather than what to train; a store that moved
is told by its content."""


@dataclass(frozen=True)
class Job(Generic[OptionsT]):
    """A training, or a fit, as asked for on the command line.

    Parameters
    ----------
    model : str
        Name in `pipelines.runs.models.MODELS`, or in `baselines.floors.FLOORS` for a fit.
    model_options : dict
        Its configuration without the numbers of channels that the data decide.
    training : TrainOptions or FitOptions
        How to train or fit it.
    output : Path
        The run folder.
    resume : bool
        Go on from the last checkpoint of `output`.
    quiet, verbose : bool
        Less or more on the console.
    """

    model: str
    model_options: dict[str, Any]
    training: OptionsT
    output: Path
    resume: bool
    quiet: bool
    verbose: bool

    def config(self) -> dict[str, Any]:
        """Everything that decides the result, as ``--config`` takes it."""
        training = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.training).items()
        }
        model = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.model_options.items()
        }
        return {**training, "model": {"name": self.model, **model}}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of options.

    Raises
    ------
    UserError
        If it is missing or is no YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no options: expected lines such as 'epochs: 10'")
    return values
