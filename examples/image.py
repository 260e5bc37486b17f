"""Images with wrong labels: a folder and a CSV, audited into a page to review in the browser."""

import csv
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from l2b.audit import audit_own
from l2b.datasets.table import Table


def write_photos(folder: Path) -> np.ndarray:
    """Digits as PNG files with a table of labels, a fifth of them wrong; returns which."""
    images, digits = load_digits(return_X_y=True)
    draw = np.random.default_rng(0)
    wrong = draw.random(len(digits)) < 0.2
    wrong[:100] = False
    labels = np.where(wrong, (digits + draw.integers(1, 10, len(wrong))) % 10, digits)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "digit", "checked"])
        for number, (pixels, label) in enumerate(
            zip(images.reshape(-1, 8, 8), labels, strict=True)
        ):
            name = f"{number:04}.png"
            Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / name)
            rows.writerow([name, f"digit {label}", int(number < 100)])
    return wrong


def main(epochs: int = 20) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrong = write_photos(folder)
        # The same on the command line:
        # l2b audit --csv labels.csv --images . --label digit --clean checked \
        #     --size 16 --epochs 20 --out audit
        table = Table(
            path=folder / "labels.csv", image="file", size=16, label="digit", clean="checked"
        )
        audit = audit_own(table, folder / "audit", settings=[f"--epochs={epochs}"], progress=False)
        page = audit.folder / "audit.html"
        found = audit.table
        suspects = wrong[found.index][found.suspect]
        print(f"{wrong.mean():.0%} of {len(wrong)} labels are wrong; {len(suspects)} are suspects,")
        print(f"of which {suspects.mean():.0%} are wrong. {page.stat().st_size / 1e6:.1f} MB of")
        print("audit.html show every image with its label and the suggested one.")
    return float(suspects.mean())


if __name__ == "__main__":
    main()
