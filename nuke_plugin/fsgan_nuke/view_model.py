"""The appearance-map panel without its widgets: the chosen views, and their knob values. No nuke, no Qt."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping

from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED, GridSquare, ViewGrid, build_view_grid

MIN_WEIGHT, MAX_WEIGHT = 0.01, 1000.0  # the range of weights


class ViewModel:
    """The views of the source and the artist's choice. A "place" is an index into `views`.

    The artist's choice changes `views` at once. What follows from it ("leads", "light", missing angles) comes with the
    worker's next answer.

    Attributes:
        data: The worker's answer to a ViewsRequest.
        views: The views of the source.
        lacking: Angles of the target that the source lacks.
        problem: Why there is no plan, else "".
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.views: List[Dict[str, Any]] = [dict(view) for view in data.get("views", ())]
        self.lacking: List[Mapping[str, Any]] = list(data.get("lacking", ()))
        self.problem = str(data.get("problem", ""))

    def make_grid(self, step: float = 0.0) -> ViewGrid:
        """Makes the map of squares. step: degrees of a square; 0 chooses."""
        return build_view_grid(self.views, self.data.get("poses", ()), step)

    # The choice.

    def use_views(self, indices: Iterable[int]) -> None:
        """Marks views as used."""
        for index in indices:
            self.views[index]["state"] = VIEW_USED

    def leave_out_views(self, indices: Iterable[int]) -> None:
        """Excludes views."""
        for index in indices:
            self.views[index]["state"] = VIEW_EXCLUDED

    def use_only_views(self, indices: Iterable[int]) -> None:
        """Uses only these views and excludes all others."""
        chosen_indices = set(indices)
        for index, view in enumerate(self.views):
            if view["state"] != VIEW_SPARE:
                view["state"] = VIEW_USED if index in chosen_indices else VIEW_EXCLUDED

    def set_weight(self, indices: Iterable[int], weight: float) -> None:
        """Sets the weight of views."""
        for index in indices:
            self.views[index]["weight"] = round(min(max(weight, MIN_WEIGHT), MAX_WEIGHT), 3)

    def reset_choice(self) -> None:
        """Uses every view with weight 1."""
        for view in self.views:
            view["weight"] = 1.0
            if view["state"] == VIEW_EXCLUDED:
                view["state"] = VIEW_USED

    def make_knob_texts(self) -> Dict[str, str]:
        """Formats the choice for reenact's parameters `views`, `exclude` and `weights`."""
        weights = sorted({view["weight"] for view in self.views if view["weight"] != 1})
        return {
            "views": "",
            "exclude": ",".join(self._format_ranges(lambda view: view["state"] == VIEW_EXCLUDED)),
            "weights": ",".join(
                f"{name}={weight:g}"
                for weight in weights
                for name in self._format_ranges(lambda view, weight=weight: view["weight"] == weight)
            ),
        }

    def _format_ranges(self, is_listed: Callable[..., bool]) -> List[str]:
        """Formats views as names and ranges. A range spans neighbours in the list, whatever frames are between."""
        view_runs: List[List[Mapping[str, Any]]] = []
        was_listed = False
        for view in self.views:
            if is_listed(view):
                if was_listed and view_runs[-1][-1]["clip"] == view["clip"]:
                    view_runs[-1].append(view)
                else:
                    view_runs.append([view])
            was_listed = is_listed(view)
        return [
            str(view_run[0]["name"]) + (f"-{view_run[-1]['frame']}" if len(view_run) > 1 else "")
            for view_run in view_runs
        ]

    # Texts.

    def format_summary(self) -> str:
        """Formats the line above the map: numbers of views and of target frames."""
        counts = {state: sum(view["state"] == state for view in self.views) for state in (VIEW_USED, VIEW_EXCLUDED)}
        text = f"{counts[VIEW_USED]} views"
        if counts[VIEW_EXCLUDED]:
            text += f", {counts[VIEW_EXCLUDED]} left out"
        target = int(self.data.get("target", 0))
        if target:
            lacking_count = sum(int(gap["count"]) for gap in self.lacking)
            text += f"; {target} frames of the target, " + (
                f"{lacking_count} lack a near view" if lacking_count else "all near a view"
            )
        return text

    def format_caption(self, index: int) -> str:
        """Formats the caption of a view: its frame, the number of frames that it leads, its weight."""
        view = self.views[index]
        parts = [str(view["name"])]
        if view["state"] == VIEW_EXCLUDED:
            parts.append("left out")
        elif view.get("leads"):
            parts.append(f"leads {view['leads']}")
        if view["weight"] != 1:
            parts.append(f"x{view['weight']:g}")
        return ", ".join(parts)

    def format_details(self, index: int) -> str:
        """Formats the tooltip of a view."""
        view = self.views[index]
        return (
            f"frame {view['name']}: yaw {view['yaw']:+.1f}, pitch {view['pitch']:+.1f}, roll {view['roll']:+.1f} "
            f"degrees; mouth open {view['mouth']:.2f}; confidence {view['confidence']:.2f}\n"
            f"leads {view['leads']} frames, gives light to {view['light']:.1f}"
        )

    def format_square(self, square: GridSquare) -> str:
        """Formats the text below a square of the map: used views of all views."""
        if not square.views:
            return ""
        used_count = sum(self.views[index]["state"] == VIEW_USED for index in square.views)
        return f"{used_count} of {len(square.views)}" if used_count < len(square.views) else str(used_count)
