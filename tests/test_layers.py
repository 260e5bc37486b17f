"""The layers of the library: a module imports only from layers below it."""

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "l2b"
LAYERS = [
    {"types", "catalog", "plain_yaml", "streams", "threads", "notices", "signals"},
    {"collectives"},
    {"targets"},
    {
        "losses",
        "scores",
        "metrics",
        "files",
        "on_disk",
        "decode",
        "tfidf",
        "class_weights",
        "scoring",
        "stats",
        "provenance",
        "page",
        "regions",
        "fonts",
    },
    {"normalise", "cases", "overlap", "mask_severity"},
    {"candidates"},
    {"functional", "layout", "lookahead", "optimise", "guards"},
    {"tangents", "pieces", "yes_no"},
    {"engines"},
    {"pseudo"},
    {"weighing"},
    {"bilevel"},
    {"parquet", "tables", "features", "volumes", "drawn_masks"},
    {"unpack", "grids", "slices"},
    {"metaimage"},
    {"decisions"},
    {"answers"},
    {"noise", "datasets", "models", "augment"},
    {"clean_split", "long_tail", "fingerprint"},
    {"data", "ledger", "network", "amortise", "halves", "checkpoint", "training"},
    {"evaluate", "folder", "feed"},
    {"best_epoch", "quality", "watch"},
    {"methods"},
    {"device", "compatible"},
    {"loop"},
    {"train"},
    {"estimation"},
    {"estimator"},
    {"config", "report", "result", "theory", "kept"},
    {"advise"},
    {"experiment"},
    {"recipes", "trained"},
    {"mask_figure", "predict", "predict_masks"},
    {"audit", "grid", "presets", "launch"},
    {"figures", "overview"},
    {"demo", "make_figure"},
    {"families", "shown", "cli_help"},
    {"cli_evidence"},
    {"cli"},
    {"__main__"},
]
BANNED = {
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
    "streaming",
    "albumentations",
    "cv2",
}


def layer(module):
    return next(i for i, names in enumerate(LAYERS) if module in names)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_import_points_downwards():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module in imports(path):
            if module.startswith("l2b."):
                other = module.split(".")[1]
                if other != own and layer(other) >= layer(own):
                    wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    assert not wrong


def test_nothing_banned_got_in():
    used = {module.split(".")[0] for path in SOURCE.rglob("*.py") for module in imports(path)}
    assert not used & BANNED
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze"],
        capture_output=True, text=True, check=True,
    ).stdout.lower()  # fmt: skip
    for name in ("torchvision", "timm", "opencv", "albumentations", "mosaicml"):
        assert f"\n{name}" not in installed
