"""The appearance-map panel: a window that shows a `ViewModel`. It imports Qt; `fsgan_nuke.view_window` opens it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from fsgan_core.contract.safe_text import escape_tags
from fsgan_core.contract.view_grid import GRID_STEPS, VIEW_EXCLUDED, VIEW_USED, ViewGrid
from fsgan_nuke.qt import QtCore, QtGui, QtWidgets, own_window
from fsgan_nuke.view_model import MAX_WEIGHT, MIN_WEIGHT, ViewModel

MIN_SIDE, MAX_SIDE, GAP, CAPTION_HEIGHT, LEFT_MARGIN, BOTTOM_MARGIN = 44, 96, 4, 15, 52, 22  # pixels
WANTED_COLOUR, LACKING_COLOUR, CHOSEN_COLOUR, CROSS_COLOUR, DIM_COLOUR = (
    "#5b8fc7",
    "#d9863b",
    "#f0f0f0",
    "#c8504a",
    "#8c8c8c",
)

SquareKey = Tuple[int, int]


class PictureCache:
    """Reads small pictures by path, each once."""

    def __init__(self) -> None:
        self._pixmaps: Dict[str, Any] = {}

    def __call__(self, path: str) -> Any:
        """Returns the picture of a path."""
        if path not in self._pixmaps:
            self._pixmaps[path] = QtGui.QPixmap(path)
        return self._pixmaps[path]


class SquareMap(QtWidgets.QWidget):
    """The squares of the map, as large as the window allows. A click selects one; with Ctrl or Shift it adds one."""

    def __init__(self, pictures: PictureCache, chosen: Callable[[], None]) -> None:
        super().__init__()
        self._pictures, self._on_choice = pictures, chosen
        self.model = ViewModel({})
        self.grid: ViewGrid = self.model.make_grid()
        self.selected_keys: Set[SquareKey] = set()
        self.side = MAX_SIDE
        self._available_size = (0, 0)

    def show_model(self, model: ViewModel, step: float) -> None:
        """Shows a model. step: degrees of a square; 0 chooses."""
        self.model, self.grid = model, model.make_grid(step)
        self.selected_keys &= set(self.grid.squares)
        self.fit(*self._available_size)

    def fit(self, width: int, height: int) -> None:
        """Fits the squares into width x height pixels."""
        self._available_size = (width, height)
        columns, rows = max(1, len(self.grid.columns)), max(1, len(self.grid.rows))
        side = min((width - LEFT_MARGIN - GAP) // columns, (height - BOTTOM_MARGIN) // rows - CAPTION_HEIGHT) - 2 * GAP
        self.side = max(MIN_SIDE, min(MAX_SIDE, side))
        self.setMinimumSize(
            LEFT_MARGIN + columns * self._get_cell_width() + GAP, rows * self._get_cell_height() + BOTTOM_MARGIN
        )
        self.update()

    def list_view_indices(self) -> List[int]:
        """Lists the indices of the views in the selected squares, in the order of the source."""
        return sorted(index for key in self.selected_keys for index in self.grid.squares[key].views)

    def _get_cell_width(self) -> int:
        return self.side + 2 * GAP

    def _get_cell_height(self) -> int:
        return self.side + 2 * GAP + CAPTION_HEIGHT

    def find_square_key(self, x: float, y: float) -> Optional[SquareKey]:
        """Finds the square at a position in pixels."""
        key = (int((x - LEFT_MARGIN) // self._get_cell_width()), int(y // self._get_cell_height()))
        return key if key in self.grid.squares else None

    def mousePressEvent(self, event: Any) -> None:
        """Selects the square under the mouse."""
        key = self.find_square_key(event.pos().x(), event.pos().y())
        is_adding = event.modifiers() & (QtCore.Qt.ControlModifier | QtCore.Qt.ShiftModifier)
        if not is_adding:
            self.selected_keys = set()
        if key is not None:
            self.selected_keys ^= {key}
        self.update()
        self._on_choice()

    def event(self, event: Any) -> bool:
        """Shows the tooltip of a square."""
        if event.type() == QtCore.QEvent.ToolTip:
            key = self.find_square_key(event.pos().x(), event.pos().y())
            square = self.grid.squares.get(key) if key is not None else None
            text = self.model.format_details(square.views[0]) if square is not None and square.views else ""
            if square is not None and square.lacking_frames:
                text = (
                    text + "\n" if text else ""
                ) + f"{square.lacking_frames} frames of the target lack a near view here"
            QtWidgets.QToolTip.showText(event.globalPos(), text, self)
            return True
        return bool(super().event(event))

    def paintEvent(self, event: Any) -> None:
        """Draws the map."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.SmoothPixmapTransform)
        painter.setPen(QtGui.QColor(DIM_COLOUR))
        low = len(self.grid.rows) * self._get_cell_height()
        for column, yaw in enumerate(self.grid.columns):
            painter.drawText(
                LEFT_MARGIN + column * self._get_cell_width(),
                low,
                self._get_cell_width(),
                BOTTOM_MARGIN,
                QtCore.Qt.AlignCenter,
                f"{yaw:+g}\u00b0",
            )
        for row, pitch in enumerate(self.grid.rows):
            painter.drawText(
                0,
                row * self._get_cell_height(),
                LEFT_MARGIN - GAP,
                self.side,
                QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter,
                f"{pitch:+g}\u00b0",
            )
        for key in self.grid.squares:
            self._paint_square(painter, key)
        painter.end()

    def _paint_square(self, painter: Any, key: SquareKey) -> None:
        square = self.grid.squares[key]
        x, y = LEFT_MARGIN + key[0] * self._get_cell_width(), key[1] * self._get_cell_height()
        frame = QtCore.QRect(x, y, self._get_cell_width(), self._get_cell_width())
        if square.target_frames:
            colour = QtGui.QColor(LACKING_COLOUR if square.lacking_frames else WANTED_COLOUR)
            painter.fillRect(frame, colour.darker(260))
            painter.setPen(QtGui.QPen(colour, 2))
            painter.drawRect(frame.adjusted(1, 1, -1, -1))
        picture_frame = frame.adjusted(GAP, GAP, -GAP, -GAP)
        if square.views:
            first_view = self.model.views[square.views[0]]
            picture = self._pictures(str(first_view.get("picture", "")))
            if picture.isNull():
                painter.fillRect(picture_frame, QtGui.QColor("#505050"))
            else:
                painter.drawPixmap(picture_frame, picture)
            if first_view["state"] == VIEW_EXCLUDED:
                cross_out(painter, picture_frame)
        if square.target_frames:
            corner = painter.fontMetrics().boundingRect(str(square.target_frames)).adjusted(-3, 0, 3, 0)
            corner.moveTopLeft(frame.topLeft())
            painter.fillRect(corner, QtGui.QColor(LACKING_COLOUR if square.lacking_frames else WANTED_COLOUR))
            painter.setPen(QtGui.QColor("#101010"))
            painter.drawText(corner, QtCore.Qt.AlignCenter, str(square.target_frames))
        if key in self.selected_keys:
            painter.setPen(QtGui.QPen(QtGui.QColor(CHOSEN_COLOUR), 2))
            painter.drawRect(picture_frame)
        painter.setPen(QtGui.QColor(CHOSEN_COLOUR if square.views else DIM_COLOUR))
        painter.drawText(
            x,
            y + self._get_cell_width(),
            self._get_cell_width(),
            CAPTION_HEIGHT,
            QtCore.Qt.AlignCenter,
            self.model.format_square(square),
        )


def cross_out(painter: Any, rectangle: Any) -> None:
    """Darkens a rectangle and draws a cross over it."""
    painter.fillRect(rectangle, QtGui.QColor(0, 0, 0, 150))
    painter.setPen(QtGui.QPen(QtGui.QColor(CROSS_COLOUR), 2))
    painter.drawLine(rectangle.topLeft(), rectangle.bottomRight())


class MapScrollArea(QtWidgets.QScrollArea):
    """A scroll area that fits the map to its size."""

    def resizeEvent(self, event: Any) -> None:
        """Fits the map to the new size."""
        super().resizeEvent(event)
        self.widget().fit(event.size().width(), event.size().height())


class ViewPanel(QtWidgets.QWidget):
    """The window.

    Args:
        title: Title of the window.
        apply: Called with the texts of the knobs after each choice.
        refresh: Asks the worker again.
        go_to: Shows a frame in the viewer.
        closed: Called when the window is closed.
    """

    def __init__(
        self,
        title: str,
        apply: Callable[[Dict[str, str]], None],
        refresh: Callable[[], None],
        go_to: Callable[[int], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__()
        self.model = ViewModel({})
        self._on_apply, self._on_go_to, self._on_closed = apply, go_to, closed
        self._pictures = PictureCache()
        self.setWindowTitle(title)
        self.resize(1180, 800)
        self.status = QtWidgets.QLabel("")
        self.status.setWordWrap(True)
        self.status.setTextFormat(QtCore.Qt.PlainText)
        self.step = QtWidgets.QComboBox()
        self.step.addItems(["auto", *(f"{step:g}\u00b0" for step in GRID_STEPS)])
        self.step.setToolTip("Size of a square, in degrees.")
        self.step.currentIndexChanged.connect(lambda _: self._redraw())
        self.map = SquareMap(self._pictures, self._show_chosen_views)
        scroll = MapScrollArea()
        scroll.setWidget(self.map)
        scroll.setWidgetResizable(True)
        self.list = QtWidgets.QListWidget()
        self.list.setViewMode(QtWidgets.QListView.IconMode)
        self.list.setIconSize(QtCore.QSize(MAX_SIDE, MAX_SIDE))
        self.list.setResizeMode(QtWidgets.QListView.Adjust)
        self.list.setMovement(QtWidgets.QListView.Static)
        self.list.setSelectionMode(QtWidgets.QAbstractItemView.ExtendedSelection)
        self.list.setSpacing(3)
        self.weight = QtWidgets.QDoubleSpinBox()
        self.weight.setRange(MIN_WEIGHT, MAX_WEIGHT)
        self.weight.setValue(1.0)
        self.weight.setKeyboardTracking(False)
        self.weight.setToolTip(
            "Weight of the selected views. 1 is neutral; a view with 3 is preferred to one that is 11 degrees nearer."
        )
        self.angles = QtWidgets.QListWidget()
        self.angles.setMaximumHeight(96)
        self.angles.setToolTip("Double-click to show the first of these frames in the viewer.")
        self.angles.itemDoubleClicked.connect(self._go_to_angle)
        self._lay_out(scroll, refresh)
        own_window(self)

    def _lay_out(self, scroll: Any, refresh: Callable[[], None]) -> None:
        def make_button(label: str, tooltip: str, call: Callable[[], None]) -> Any:
            button = QtWidgets.QPushButton(label)
            button.setToolTip(tooltip)
            button.clicked.connect(lambda *_: call())
            return button

        top = QtWidgets.QHBoxLayout()
        top.addWidget(self.status, 1)
        for widget in (
            QtWidgets.QLabel("square"),
            self.step,
            make_button(
                "Refresh", "Asks the worker again. Use it after the source, the range or a track has changed.", refresh
            ),
        ):
            top.addWidget(widget)
        side = QtWidgets.QVBoxLayout()
        self.heading = QtWidgets.QLabel("click a square of the map")
        side.addWidget(self.heading)
        side.addWidget(self.list, 1)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(make_button("Use", "These views may be used.", lambda: self._apply_change(self.model.use_views)))
        row.addWidget(
            make_button(
                "Leave out",
                "These views are not used (exclude views).",
                lambda: self._apply_change(self.model.leave_out_views),
            )
        )
        row.addWidget(
            make_button(
                "Only these", "All other views are left out.", lambda: self._apply_change(self.model.use_only_views)
            )
        )
        side.addLayout(row)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(QtWidgets.QLabel("weight"))
        row.addWidget(self.weight, 1)
        row.addWidget(
            make_button(
                "Set",
                "Gives the chosen views this weight.",
                lambda: self._apply_change(lambda indices: self.model.set_weight(indices, self.weight.value())),
            )
        )
        row.addWidget(
            make_button(
                "Reset all",
                "Uses every view, with weight 1.",
                lambda: self._apply_change(lambda _: self.model.reset_choice(), needs_choice=False),
            )
        )
        side.addLayout(row)
        holder = QtWidgets.QWidget()
        holder.setLayout(side)
        side.setContentsMargins(0, 0, 0, 0)
        split = QtWidgets.QSplitter()
        split.addWidget(scroll)
        split.addWidget(holder)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)
        split.setSizes([860, 320])
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(split, 1)
        layout.addWidget(
            QtWidgets.QLabel(
                "Angles that the source lacks for these frames (orange above; blue: it has "
                "them; numbers in corners: frames): film, photograph or find them."
            )
        )
        layout.addWidget(self.angles)

    # From outside.

    def show_message(self, text: str) -> None:
        """Shows a text above the map."""
        self.status.setText(text)

    def fill(self, data: Any) -> None:
        """Shows the worker's answer."""
        self.model = ViewModel(data)
        self.show_message(self.model.problem or self.model.format_summary())
        self.angles.clear()
        for lack in self.model.lacking:
            self.angles.addItem(str(lack["text"]) + f"; frames {lack['frames']}")
        if not self.model.lacking:
            self.angles.addItem(
                "none: every frame has a view near its pose"
                if data.get("target")
                else "no target is connected, or it shows no face in these frames"
            )
        self._redraw()

    def closeEvent(self, event: Any) -> None:
        """Reports that the window is closed."""
        self._on_closed()
        super().closeEvent(event)

    # What an artist does.

    def _redraw(self) -> None:
        index = self.step.currentIndex()
        self.map.show_model(self.model, GRID_STEPS[index - 1] if index > 0 else 0.0)
        self._show_chosen_views()

    def _show_chosen_views(self) -> None:
        indices = self.map.list_view_indices()
        selected_indices = {item.data(QtCore.Qt.UserRole) for item in self.list.selectedItems()}
        self.list.clear()
        for index in indices:
            view = self.model.views[index]
            item = QtWidgets.QListWidgetItem(self._make_icon(view), self.model.format_caption(index))
            item.setData(QtCore.Qt.UserRole, index)
            item.setToolTip(escape_tags(self.model.format_details(index)))
            self.list.addItem(item)
            item.setSelected(index in selected_indices)
        used_count = sum(self.model.views[index]["state"] == VIEW_USED for index in indices)
        self.heading.setText(
            f"{len(indices)} views here, {used_count} used; none chosen means all"
            if indices
            else "click a square of the map (Ctrl: more)"
        )
        if indices:
            self.weight.setValue(float(self.model.views[indices[0]]["weight"]))

    def _make_icon(self, view: Any) -> Any:
        picture = self._pictures(str(view.get("picture", "")))
        if picture.isNull():
            picture = QtGui.QPixmap(MAX_SIDE, MAX_SIDE)
            picture.fill(QtGui.QColor("#505050"))
        if view["state"] == VIEW_EXCLUDED:
            picture = QtGui.QPixmap(picture)
            painter = QtGui.QPainter(picture)
            cross_out(painter, picture.rect())
            painter.end()
        return QtGui.QIcon(picture)

    def list_chosen_indices(self) -> List[int]:
        """Lists the indices of the views selected in the list; if none is, of all views in the selected squares."""
        return [item.data(QtCore.Qt.UserRole) for item in self.list.selectedItems()] or self.map.list_view_indices()

    def _apply_change(self, change: Callable[[List[int]], None], needs_choice: bool = True) -> None:
        indices = self.list_chosen_indices()
        if not indices and needs_choice:
            self.show_message("click a square of the map first")
            return
        change(indices)
        self._redraw()
        self.show_message(self.model.format_summary())
        self._on_apply(self.model.make_knob_texts())

    def _go_to_angle(self, item: Any) -> None:
        row = self.angles.row(item)
        if row < len(self.model.lacking):
            first_frames = str(self.model.lacking[row]["frames"]).split(",")[0]
            self._on_go_to(int(first_frames[:1] + first_frames[1:].split("-")[0]))
