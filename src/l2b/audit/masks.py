"""Which masks of a run seem wrong, and what they should be."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from l2b.audit.mask_export import export_masks
from l2b.audit.mask_page import changed_pixels, most_suspicious, write_mask_page
from l2b.cases import case_dice, mean_score
from l2b.data import Data
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.mask_folder import MaskFolder
from l2b.evaluate import predict_cases
from l2b.experiment import Run, read_run
from l2b.files import write_atomically, write_json
from l2b.folder import AUDIT as FOLDER
from l2b.folder import read_module
from l2b.mask_figure import data_of, suspects_figure
from l2b.noise.none import NoNoise
from l2b.provenance import typed
from l2b.tables import write_csv
from l2b.targets import where_labelled
from l2b.types import Cases

SUGGESTED = "suggested"  # in that folder
PAGE = "audit.html"
KEPT_SAID = 5
CORRECTABLE = (Decathlon, MaskFolder)  # into whose layout corrected masks can be written
HEADER = ("rank", "index", "case", "slice", "suspicion", "changed_pixels")


@dataclass(frozen=True, kw_only=True)
class MaskAudit:
    """What `audit_masks` found and wrote.

    Attributes:
        folder: holds masks.csv, summary.json, audit.html, suspects.png and the folder
            ``suggested``, with suggested.json beside it.
        suspicion: of every training image (of slabs, of their slices), in [0, 1], [N].
        suggested: the masks that the run would give them, [N, height, width].
        summary: the content of ``summary.json``.
        kept: files in ``suggested`` that somebody edited since an earlier audit wrote them.
        correctable: whether corrected masks can go back into a data folder like the run's.
    """

    folder: Path
    suspicion: Tensor
    suggested: Tensor
    summary: dict[str, Any]
    kept: tuple[str, ...] = ()
    correctable: bool = False

    def __str__(self) -> str:
        """A few lines for a terminal."""
        found = self.summary
        lines = [f"{found['images']:,} masks audited, most suspicious first in masks.csv."]
        if "rank_correlation" in found:
            lines.append(
                "  Suspicion follows the true corruption with a rank correlation of "
                f"{found['rank_correlation']:.2f}."
            )
        if "dice_given" in found:
            given, drawn = (_percent(found[f"dice_{which}"]) for which in ("given", "suggested"))
            lines.append(f"  Dice against the true masks: given {given}, suggested {drawn}.")
        if self.kept:
            names = ", ".join(self.kept[:KEPT_SAID]) + (", …" if len(self.kept) > KEPT_SAID else "")
            lines.append(
                f"  {len(self.kept)} kept as they are, because they were edited: {names} in "
                f"{self.folder / SUGGESTED}. Move a file away to have it written again."
            )
        lines.append(f"  Look at them: {self.folder / PAGE}")
        if self.correctable:
            place = self.folder / SUGGESTED
            again = typed(["audit", str(self.folder.parent), "--apply", str(place), "--out", "NEW"])
            lines.append(f"  Correct them in {place}, then: {again}")
        return "\n".join(lines)


def audit_masks(path: Path, *, most: int = 12) -> MaskAudit:
    """Rank the masks that a run learned from, and export what it would draw instead.

    The suggestion is the final model's own mask. The suspicion of an image is one minus the
    Dice of its mask as given against the suggestion, all classes together: 0 where they agree,
    1 where they have nothing in common.

    Args:
        path: folder of a finished run on masks.
        most: how many images are drawn.

    Returns:
        The audit; volumes are exported as NIfTI, single images as PNG, on the grids of the files
        and in the values of their masks. What was edited since an earlier audit is kept.

    Raises:
        FileNotFoundError: if there is no finished run in the folder.
        ValueError: if its files are damaged, or the data changed since.
    """
    run = read_run(path)
    if run is None:
        raise FileNotFoundError(f"{path} holds no run (run.yaml).")
    data, folder = data_of(path, run), path / FOLDER
    cases, suggested = _cases(data), torch.empty_like(data.train.labels)
    module = _module(run, data, path / "model.safetensors")
    with torch.no_grad():
        kept = export_masks(
            folder / SUGGESTED,
            cases,
            _drawn(module, data, suggested),
            grids=run.data.grids(),
            values=data.values,
        )
    # Slabs are looked at slice by slice.
    data, suggested = replace(data, train=data.train.slices()), cases.real(suggested)
    suggested = where_labelled(suggested, data.train.labels)
    suspicion, summary = judge_masks(data, suggested)
    order = most_suspicious(data, suggested, suspicion)
    _write_table(folder / "masks.csv", data, suspicion, suggested, order)
    write_json(folder / "summary.json", summary)
    picture = suspects_figure(data, suggested, order[:most], suspicion)
    write_atomically(folder / "suspects.png", lambda temporary: picture.savefig(temporary))
    write_mask_page(folder / PAGE, data, suggested, suspicion, summary)
    return MaskAudit(
        folder=folder,
        suspicion=suspicion,
        suggested=suggested,
        summary=summary,
        kept=kept,
        correctable=isinstance(run.data, CORRECTABLE) and isinstance(run.noise, NoNoise),
    )


def judge_masks(data: Data, suggested: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """How wrong every training mask seems, and, where the truth is known, how well that is told.

    Args:
        data: of a run on masks.
        suggested: the masks that the model draws for its training images, [N, height, width].

    Returns:
        Suspicion of every image, in [0, 1], [N], and ``images``, ``mean_suspicion`` and, where
        the truth is known, the mean Dice by case of the masks as given and as suggested,
        ``dice_given`` and ``dice_suggested``, as fractions, and ``rank_correlation`` (Spearman,
        with one minus the Dice of a mask against the true one, over the images on which the mask
        as given or the true one shows anything) unless one of both is constant.

    Raises:
        ValueError: if nothing tells which images belong together.
    """
    pool, cases, classes = data.train, _cases(data), len(data.classes)
    suspicion = _apart(pool.labels, suggested)
    labelled = pool.labelled()  # nobody drew anything on the others
    found: dict[str, Any] = {
        "images": int(labelled.sum()),
        "mean_suspicion": suspicion[labelled].mean().item(),
    }
    if pool.true is None:
        return suspicion, found
    found["dice_given"] = mean_score(case_dice(pool.labels, pool.true, cases, classes))
    found["dice_suggested"] = mean_score(case_dice(suggested, pool.true, cases, classes))
    # Where neither mask shows anything there is nothing to rank: all such images agree.
    shown = ((pool.labels > 0) | (pool.true > 0)).flatten(1).any(dim=1)
    wrong, seems = _apart(pool.labels, pool.true)[shown], suspicion[shown]
    if len(wrong.unique()) > 1 and len(seems.unique()) > 1:
        found["rank_correlation"] = float(spearmanr(seems.numpy(), wrong.numpy()).statistic)  # pyright: ignore[reportAttributeAccessIssue]
    return suspicion, found


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _module(run: Run, data: Data, weights: Path) -> nn.Module:
    """The final model, ready to predict."""
    with torch.random.fork_rng(devices=[]):
        shape = tuple(data.train.inputs.shape[1:])
        module = run.model.suited(masks=True).build(shape, len(data.classes))
    read_module(module, weights)
    return module.eval()


def _drawn(module: nn.Module, data: Data, suggested: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Logits of the slices of one case after the other, for those of all need much memory.

    Args:
        module: the final model.
        data: what it learned from.
        suggested: is filled with the most likely classes of every case that was given out,
            shaped like the labels.
    """
    cases = _cases(data)
    for case, logits in predict_cases(module, data.train, data):
        rows = cases.rows(case)
        suggested[rows] = logits.argmax(dim=1)
        yield case, cases.take(rows).real(logits)


def _cases(data: Data) -> Cases:
    if data.train.cases is None:
        raise ValueError("Masks without cases cannot be audited.")
    return data.train.cases


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """1 − Dice of each image over all classes but the background; 0 if both are empty, [N].

    Both are void at the same pixels, which count for nothing.
    """
    both = ((one == other) & (one > 0)).flatten(1).sum(dim=1)
    either = (one > 0).flatten(1).sum(dim=1) + (other > 0).flatten(1).sum(dim=1)
    return torch.where(either > 0, 1 - 2 * both / either.clamp_min(1), 0.0)


def _write_table(
    path: Path, data: Data, suspicion: Tensor, suggested: Tensor, order: Tensor
) -> None:
    cases = _cases(data)
    place = cases.places()
    changed = changed_pixels(data, suggested)

    def cells(rank: int, row: int) -> list[Any]:
        return [
            rank + 1,
            int(data.train.index[row]),
            cases.names[int(cases.of[row])],
            int(place[row]),
            f"{suspicion[row]:.4f}",
            int(changed[row]),
        ]

    write_csv(path, HEADER, (cells(rank, row) for rank, row in enumerate(order.tolist())))
