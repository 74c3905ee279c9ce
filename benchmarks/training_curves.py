"""Draw the losses of training runs over their iterations, as one SVG.

python benchmarks/training_curves.py NAME=RUN.json ... -o FILE.svg

`fsgan train` writes a run.json beside every result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt


def main() -> None:
    """Draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", metavar="NAME=RUN.json", nargs="+")
    parser.add_argument("--output", "-o", type=Path, required=True)
    options = parser.parse_args()
    plt.rcParams.update({"svg.hashsalt": "fsgan", "svg.fonttype": "none", "font.size": 9})
    figure, axes = plt.subplots(1, len(options.runs), figsize=(3.2 * len(options.runs), 2.6), squeeze=False)
    for plot, run in zip(axes[0], options.runs, strict=True):
        name, _, path = run.partition("=")
        facts = json.loads(Path(path).read_text("utf-8"))
        steps = [check["step"] for check in facts["checks"]]
        plot.plot(range(1, len(facts["losses"]) + 1), facts["losses"], color="0.8", linewidth=0.8, label="training")
        plot.plot(
            steps,
            [check["loss"] for check in facts["checks"]],
            "o-",
            color="tab:blue",
            markersize=3,
            label="held-out people",
        )
        plot.set_title(name)
        plot.set_xlabel("iterations")
        plot.set_ylim(bottom=0)
        plot.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(options.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
