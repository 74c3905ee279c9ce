"""The appearance-map panel: a window over `ViewModel`. Imports Qt; open it through fsgan_nuke.view_window."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from fsgan_core.contract.view_grid import EXCLUDED, STEPS, USED, Grid
from fsgan_nuke.qt import QtCore, QtGui, QtWidgets, own
from fsgan_nuke.view_model import HEAVIEST, LIGHTEST, ViewModel

SMALLEST, SIDE, GAP, CAPTION, LEFT, BOTTOM = 44, 96, 4, 15, 52, 22  # pixels
WANTED, LACKING, CHOSEN, CROSS, DIM = "#5b8fc7", "#d9863b", "#f0f0f0", "#c8504a", "#8c8c8c"

Key = Tuple[int, int]


class Pictures:
    """Small pictures by path, read once."""

    def __init__(self) -> None:
        self._known: Dict[str, Any] = {}

    def __call__(self, path: str) -> Any:
        if path not in self._known:
            self._known[path] = QtGui.QPixmap(path)
        return self._known[path]


class Map(QtWidgets.QWidget):
    """The squares, as large as there is room for. A click chooses one, with Ctrl or Shift one more."""

    def __init__(self, pictures: Pictures, chosen: Callable[[], None]) -> None:
        super().__init__()
        self._pictures, self._tell = pictures, chosen
        self.model = ViewModel({})
        self.grid: Grid = self.model.grid()
        self.chosen: Set[Key] = set()
        self.side = SIDE
        self._room = (0, 0)

    def show_model(self, model: ViewModel, step: float) -> None:
        self.model, self.grid = model, model.grid(step)
        self.chosen &= set(self.grid.squares)
        self.fit(*self._room)

    def fit(self, width: int, height: int) -> None:
        """Room that there is, in pixels."""
        self._room = (width, height)
        columns, rows = max(1, len(self.grid.columns)), max(1, len(self.grid.rows))
        side = min((width - LEFT - GAP) // columns, (height - BOTTOM) // rows - CAPTION) - 2 * GAP
        self.side = max(SMALLEST, min(SIDE, side))
        self.setMinimumSize(LEFT + columns * self._wide() + GAP, rows * self._high() + BOTTOM)
        self.update()

    def places(self) -> List[int]:
        """Of the views in the chosen squares, as they follow in the source."""
        return sorted(place for key in self.chosen for place in self.grid.squares[key].views)

    def _wide(self) -> int:
        return self.side + 2 * GAP

    def _high(self) -> int:
        return self.side + 2 * GAP + CAPTION

    def key_at(self, x: float, y: float) -> Optional[Key]:
        key = (int((x - LEFT) // self._wide()), int(y // self._high()))
        return key if key in self.grid.squares else None

    def mousePressEvent(self, event: Any) -> None:
        key = self.key_at(event.pos().x(), event.pos().y())
        more = event.modifiers() & (QtCore.Qt.ControlModifier | QtCore.Qt.ShiftModifier)
        if not more:
            self.chosen = set()
        if key is not None:
            self.chosen ^= {key}
        self.update()
        self._tell()

    def event(self, event: Any) -> bool:
        if event.type() == QtCore.QEvent.ToolTip:
            key = self.key_at(event.pos().x(), event.pos().y())
            square = self.grid.squares.get(key) if key is not None else None
            text = self.model.details(square.views[0]) if square is not None and square.views else ""
            if square is not None and square.lacking:
                text = (text + "\n" if text else "") + f"{square.lacking} frames of the target lack a near view here"
            QtWidgets.QToolTip.showText(event.globalPos(), text, self)
            return True
        return bool(super().event(event))

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.SmoothPixmapTransform)
        painter.setPen(QtGui.QColor(DIM))
        low = len(self.grid.rows) * self._high()
        for column, yaw in enumerate(self.grid.columns):
            painter.drawText(LEFT + column * self._wide(), low, self._wide(), BOTTOM, QtCore.Qt.AlignCenter,
                             f"{yaw:+g}\u00b0")
        for row, pitch in enumerate(self.grid.rows):
            painter.drawText(0, row * self._high(), LEFT - GAP, self.side,
                             QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter, f"{pitch:+g}\u00b0")
        for key in self.grid.squares:
            self._paint_square(painter, key)
        painter.end()

    def _paint_square(self, painter: Any, key: Key) -> None:
        square = self.grid.squares[key]
        x, y = LEFT + key[0] * self._wide(), key[1] * self._high()
        frame = QtCore.QRect(x, y, self._wide(), self._wide())
        if square.wanted:
            colour = QtGui.QColor(LACKING if square.lacking else WANTED)
            painter.fillRect(frame, colour.darker(260))
            painter.setPen(QtGui.QPen(colour, 2))
            painter.drawRect(frame.adjusted(1, 1, -1, -1))
        inside = frame.adjusted(GAP, GAP, -GAP, -GAP)
        if square.views:
            first = self.model.views[square.views[0]]
            picture = self._pictures(str(first.get("picture", "")))
            if picture.isNull():
                painter.fillRect(inside, QtGui.QColor("#505050"))
            else:
                painter.drawPixmap(inside, picture)
            if first["state"] == EXCLUDED:
                cross_out(painter, inside)
        if square.wanted:
            corner = painter.fontMetrics().boundingRect(str(square.wanted)).adjusted(-3, 0, 3, 0)
            corner.moveTopLeft(frame.topLeft())
            painter.fillRect(corner, QtGui.QColor(LACKING if square.lacking else WANTED))
            painter.setPen(QtGui.QColor("#101010"))
            painter.drawText(corner, QtCore.Qt.AlignCenter, str(square.wanted))
        if key in self.chosen:
            painter.setPen(QtGui.QPen(QtGui.QColor(CHOSEN), 2))
            painter.drawRect(inside)
        painter.setPen(QtGui.QColor(CHOSEN if square.views else DIM))
        painter.drawText(x, y + self._wide(), self._wide(), CAPTION, QtCore.Qt.AlignCenter,
                         self.model.square_text(square))


def cross_out(painter: Any, rectangle: Any) -> None:
    painter.fillRect(rectangle, QtGui.QColor(0, 0, 0, 150))
    painter.setPen(QtGui.QPen(QtGui.QColor(CROSS), 2))
    painter.drawLine(rectangle.topLeft(), rectangle.bottomRight())


class Room(QtWidgets.QScrollArea):
    """Tells the map how much room it has."""

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self.widget().fit(event.size().width(), event.size().height())


class ViewPanel(QtWidgets.QWidget):
    """title: of the window. apply: called with the texts of the knobs when something was chosen. refresh: asks the
    worker. go_to: shows a frame in the viewer. closed: when the window is."""

    def __init__(self, title: str, apply: Callable[[Dict[str, str]], None], refresh: Callable[[], None],
                 go_to: Callable[[int], None], closed: Callable[[], None]) -> None:
        super().__init__()
        self.model = ViewModel({})
        self._apply, self._go_to, self._closed = apply, go_to, closed
        self._pictures = Pictures()
        self.setWindowTitle(title)
        self.resize(1180, 800)
        self.status = QtWidgets.QLabel("")
        self.status.setWordWrap(True)
        self.status.setTextFormat(QtCore.Qt.PlainText)
        self.step = QtWidgets.QComboBox()
        self.step.addItems(["auto", *(f"{step:g}\u00b0" for step in STEPS)])
        self.step.setToolTip("Degrees that a square spans.")
        self.step.currentIndexChanged.connect(lambda _: self._redraw())
        self.map = Map(self._pictures, self._choose_squares)
        scroll = Room()
        scroll.setWidget(self.map)
        scroll.setWidgetResizable(True)
        self.list = QtWidgets.QListWidget()
        self.list.setViewMode(QtWidgets.QListView.IconMode)
        self.list.setIconSize(QtCore.QSize(SIDE, SIDE))
        self.list.setResizeMode(QtWidgets.QListView.Adjust)
        self.list.setMovement(QtWidgets.QListView.Static)
        self.list.setSelectionMode(QtWidgets.QAbstractItemView.ExtendedSelection)
        self.list.setSpacing(3)
        self.weight = QtWidgets.QDoubleSpinBox()
        self.weight.setRange(LIGHTEST, HEAVIEST)
        self.weight.setValue(1.0)
        self.weight.setKeyboardTracking(False)
        self.weight.setToolTip("Preference of the chosen views; 1 is neutral, 3 wins over a view 11 degrees nearer.")
        self.angles = QtWidgets.QListWidget()
        self.angles.setMaximumHeight(96)
        self.angles.setToolTip("Double-click shows the first of these frames in the viewer.")
        self.angles.itemDoubleClicked.connect(self._show_angle)
        self._lay_out(scroll, refresh)
        own(self)

    def _lay_out(self, scroll: Any, refresh: Callable[[], None]) -> None:
        def button(label: str, tooltip: str, call: Callable[[], None]) -> Any:
            made = QtWidgets.QPushButton(label)
            made.setToolTip(tooltip)
            made.clicked.connect(lambda *_: call())
            return made

        top = QtWidgets.QHBoxLayout()
        top.addWidget(self.status, 1)
        for widget in (QtWidgets.QLabel("square"), self.step, button("Refresh", "Asks the worker again, after the "
                       "source, the range or a track has changed.", refresh)):
            top.addWidget(widget)
        side = QtWidgets.QVBoxLayout()
        self.heading = QtWidgets.QLabel("click a square of the map")
        side.addWidget(self.heading)
        side.addWidget(self.list, 1)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(button("Use", "These views may be used.", lambda: self._edit(self.model.use)))
        row.addWidget(button("Leave out", "These views are not used (exclude views).",
                             lambda: self._edit(self.model.leave_out)))
        row.addWidget(button("Only these", "All other views are left out.", lambda: self._edit(self.model.use_only)))
        side.addLayout(row)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(QtWidgets.QLabel("weight"))
        row.addWidget(self.weight, 1)
        row.addWidget(button("Set", "Gives the chosen views this weight.",
                             lambda: self._edit(lambda places: self.model.weigh(places, self.weight.value()))))
        row.addWidget(button("Reset all", "Every view, equally.", lambda: self._edit(lambda _: self.model.reset(),
                                                                                    nothing=True)))
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
        whole = QtWidgets.QVBoxLayout(self)
        whole.addLayout(top)
        whole.addWidget(split, 1)
        whole.addWidget(QtWidgets.QLabel("Angles that the source lacks for these frames (orange above; blue: it has "
                                         "them; numbers in corners: frames): film, photograph or find them."))
        whole.addWidget(self.angles)

    # From outside.

    def say(self, text: str) -> None:
        self.status.setText(text)

    def fill(self, data: Any) -> None:
        """The worker's answer."""
        self.model = ViewModel(data)
        self.say(self.model.problem or self.model.summary())
        self.angles.clear()
        for lack in self.model.lacking:
            self.angles.addItem(str(lack["text"]) + f"; frames {lack['frames']}")
        if not self.model.lacking:
            self.angles.addItem("none: every frame has a view near its pose" if data.get("target") else
                                "no target is connected, or it shows no face in these frames")
        self._redraw()

    def closeEvent(self, event: Any) -> None:
        self._closed()
        super().closeEvent(event)

    # What an artist does.

    def _redraw(self) -> None:
        index = self.step.currentIndex()
        self.map.show_model(self.model, STEPS[index - 1] if index > 0 else 0.0)
        self._choose_squares()

    def _choose_squares(self) -> None:
        places = self.map.places()
        kept = {item.data(QtCore.Qt.UserRole) for item in self.list.selectedItems()}
        self.list.clear()
        for place in places:
            view = self.model.views[place]
            item = QtWidgets.QListWidgetItem(self._icon(view), self.model.caption(place))
            item.setData(QtCore.Qt.UserRole, place)
            item.setToolTip(self.model.details(place))
            self.list.addItem(item)
            item.setSelected(place in kept)
        used = sum(self.model.views[place]["state"] == USED for place in places)
        self.heading.setText(f"{len(places)} views here, {used} used; none chosen means all" if places else
                             "click a square of the map (Ctrl: more)")
        if places:
            self.weight.setValue(float(self.model.views[places[0]]["weight"]))

    def _icon(self, view: Any) -> Any:
        picture = self._pictures(str(view.get("picture", "")))
        if picture.isNull():
            picture = QtGui.QPixmap(SIDE, SIDE)
            picture.fill(QtGui.QColor("#505050"))
        if view["state"] == EXCLUDED:
            picture = QtGui.QPixmap(picture)
            painter = QtGui.QPainter(picture)
            cross_out(painter, picture.rect())
            painter.end()
        return QtGui.QIcon(picture)

    def chosen(self) -> List[int]:
        """Places of the views chosen in the list; with none of them, of all in the chosen squares."""
        return [item.data(QtCore.Qt.UserRole) for item in self.list.selectedItems()] or self.map.places()

    def _edit(self, change: Callable[[List[int]], None], nothing: bool = False) -> None:
        places = self.chosen()
        if not places and not nothing:
            self.say("click a square of the map first")
            return
        change(places)
        self._redraw()
        self.say(self.model.summary())
        self._apply(self.model.knobs())

    def _show_angle(self, item: Any) -> None:
        row = self.angles.row(item)
        if row < len(self.model.lacking):
            first = str(self.model.lacking[row]["frames"]).split(",")[0]
            self._go_to(int(first[:1] + first[1:].split("-")[0]))
