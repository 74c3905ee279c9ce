"use strict";
// The player of a report. All pictures are in the page; nothing is loaded from elsewhere.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.getElementById("player");
  if (!root) return;
  const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d");
  const find = (id) => document.getElementById(id);
  const frames = data.frames, [fullWidth, fullHeight] = data.size;
  const MAX_PICTURES = 160;
  const state = { place: 0, view: data.views[0], zoom: "fit", wipe: 0.5, factor: 8, playing: false };
  const pictures = new Map(); // key -> promise of a decoded picture, the latest used last
  const scratch = document.createElement("canvas"), scratchPen = scratch.getContext("2d", { willReadFrequently: true });

  function load(key, text) {
    let picture = pictures.get(key);
    if (picture) pictures.delete(key);
    else {
      const image = new Image();
      image.src = "data:image/jpeg;base64," + text;
      picture = image.decode().then(() => image, () => null);
    }
    pictures.set(key, picture);
    if (pictures.size > MAX_PICTURES) pictures.delete(pictures.keys().next().value);
    return picture;
  }

  const PARTS = { before: ["before"], after: ["after"], wipe: ["before", "after"], matte: ["after", "matte"],
    difference: ["difference"] };

  async function fetchFrame(place) {
    const frame = frames[place];
    const names = PARTS[state.view] || [state.view];
    const parts = await Promise.all(names.map((name) =>
      frame.parts[name] ? load(place + name, frame.parts[name]) : null));
    return { frame, whole: await load(place + "whole", frame.whole), parts };
  }

  // The rectangle of the plate, in its pixels, that the canvas shows.
  function computeView(frame) {
    if (state.zoom === "fit") {
      const scale = Math.min(1, 1280 / fullWidth);
      return { x: 0, y: 0, scale, width: Math.round(fullWidth * scale), height: Math.round(fullHeight * scale) };
    }
    const [width, height] = data.face_view;
    const face = frame.face || lastFace || [0.5, 0.5, 0, 0];
    lastFace = face;
    const inside = (middle, size, full) => Math.max(0, Math.min(full - size, Math.round(middle * full - size / 2)));
    const x = inside(face[0] + face[2] / 2, width, fullWidth), y = inside(face[1] + face[3] / 2, height, fullHeight);
    return { x, y, scale: 1, width, height };
  }
  let lastFace = null;

  function drawPicture(image, rect, view) {
    if (!image) return;
    pen.drawImage(image, (rect[0] - view.x) * view.scale, (rect[1] - view.y) * view.scale,
      rect[2] * view.scale, rect[3] * view.scale);
  }

  let ticket = 0;
  async function draw() {
    const mine = ++ticket, place = state.place;
    const { frame, whole, parts } = await fetchFrame(place);
    if (mine !== ticket) return;
    const view = computeView(frame);
    if (canvas.width !== view.width || canvas.height !== view.height) {
      canvas.width = view.width;
      canvas.height = view.height;
    }
    pen.imageSmoothingQuality = "high";
    pen.filter = "none";
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, view.width, view.height);
    const all = [0, 0, fullWidth, fullHeight];
    const window = frame.window && [frame.window[0] * fullWidth, frame.window[1] * fullHeight,
      frame.window[2] * fullWidth, frame.window[3] * fullHeight];
    const isPicture = ["before", "after", "wipe", "matte"].includes(state.view);
    if (isPicture) drawPicture(whole, all, view);
    if (window) {
      if (state.view === "difference") {
        pen.filter = "brightness(" + state.factor / data.difference_factor + ")";
        drawPicture(parts[0], window, view);
        pen.filter = "none";
      } else if (state.view === "matte") {
        drawPicture(parts[0], window, view);
        drawMatte(parts[1], window, view);
      } else if (state.view === "wipe") {
        const line = Math.round(state.wipe * view.width);
        drawPicture(parts[0], window, view);
        pen.save();
        pen.beginPath();
        pen.rect(line, 0, view.width - line, view.height);
        pen.clip();
        drawPicture(parts[1], window, view);
        pen.restore();
      } else drawPicture(parts[0], window, view);
    }
    if (state.view === "wipe") {
      const line = Math.round(state.wipe * view.width);
      pen.fillStyle = "rgba(255,255,255,0.9)";
      pen.fillRect(line - 1, 0, 2, view.height);
    }
    show(frame, view);
    if (!state.playing) prefetch();
  }

  function drawMatte(matte, window, view) {
    if (!matte) return;
    scratch.width = matte.width;
    scratch.height = matte.height;
    scratchPen.drawImage(matte, 0, 0);
    const pixels = scratchPen.getImageData(0, 0, matte.width, matte.height), values = pixels.data;
    for (let place = 0; place < values.length; place += 4) {
      values[place + 3] = values[place] * 0.5;
      values[place] = 235;
      values[place + 1] = 20;
      values[place + 2] = 50;
    }
    scratchPen.putImageData(pixels, 0, 0);
    drawPicture(scratch, window, view);
  }

  function show(frame, view) {
    let text = data.labels[state.view] + ", frame " + frame.number;
    if (state.zoom === "face") {
      const reduced = frame.zoom < 0.995 ? ", stored at " + Math.round(frame.zoom * 100) + " %" : "";
      text += ", 100 % of the plate's pixels" + reduced;
    }
    if (state.view === "wipe") text += ": before | after";
    if (state.view === "difference") text += ", times " + state.factor;
    if (!frame.window) text += ", unchanged";
    find("caption").textContent = text;
    find("number").textContent = frame.number;
    find("slider").value = state.place;
    find("legend").textContent = state.view === "matte" ? data.matte_text
      : state.view === "mattes" ? "Blue: face, green: hair, red: mouth, yellow: what covers the face." : "";
    root.dataset.frame = frame.number;
    root.dataset.view = state.view;
    root.dataset.zoom = state.zoom;
    root.dataset.wipe = state.wipe.toFixed(3);
    root.dataset.drawn = String(Number(root.dataset.drawn || 0) + 1);
    for (const button of root.querySelectorAll("[data-view]")) {
      if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", button.dataset.view === state.view);
    }
    for (const button of root.querySelectorAll("button[data-zoom]"))
      button.setAttribute("aria-pressed", button.dataset.zoom === state.zoom);
    moveCursors(frame.number);
    const here = root.querySelector(".film .here"), now = root.querySelector('.film [data-place="' + state.place + '"]');
    if (here !== now) {
      if (here) here.classList.remove("here");
      now.classList.add("here");
      const film = now.parentElement;
      if (now.offsetLeft < film.scrollLeft + 60 || now.offsetLeft + now.offsetWidth > film.scrollLeft + film.clientWidth - 60)
        film.scrollLeft = now.offsetLeft - film.clientWidth / 2;
    }
  }

  function moveCursors(number) {
    for (const svg of document.querySelectorAll(".plot svg")) {
      const { first, last, left, right } = svg.dataset;
      const share = first === last ? 0.5 : (number - first) / (last - first);
      const x = Number(left) + share * (right - left), line = svg.querySelector(".cursor");
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  }

  function prefetch() {
    for (const step of [1, -1]) {
      const place = state.place + step;
      if (place >= 0 && place < frames.length) fetchFrame(place);
    }
  }

  function go(place) {
    const count = frames.length;
    state.place = find("loop").checked ? ((place % count) + count) % count : Math.max(0, Math.min(count - 1, place));
    return draw();
  }

  // The player's frame that is nearest to a frame of the shot: a long shot is sampled.
  function goToFrame(number) {
    let best = 0;
    frames.forEach((frame, place) => {
      if (Math.abs(frame.number - number) < Math.abs(frames[best].number - number)) best = place;
    });
    stop();
    return go(best);
  }

  function setView(view) { state.view = view; draw(); }
  function setZoom(zoom) { state.zoom = zoom; draw(); }

  function stop() {
    state.playing = false;
    find("play").textContent = "Play";
  }

  async function play() {
    if (state.playing) return stop();
    state.playing = true;
    find("play").textContent = "Stop";
    if (!find("loop").checked && state.place === frames.length - 1) state.place = -1;
    while (state.playing) {
      const due = performance.now() + 1000 / (data.fps * Number(find("speed").value));
      if (!find("loop").checked && state.place >= frames.length - 1) return stop();
      await go(state.place + 1);
      fetchFrame((state.place + 1) % frames.length);
      await new Promise((done) => setTimeout(done, Math.max(0, due - performance.now())));
    }
  }

  function goToNextFlagged() {
    const flagged = data.flagged;
    if (!flagged.length) return;
    const now = frames[state.place].number;
    goToFrame(flagged.find((number) => number > now) ?? flagged[0]);
  }

  for (const button of root.querySelectorAll("button[data-view]"))
    button.addEventListener("click", () => setView(button.dataset.view));
  for (const button of root.querySelectorAll("button[data-zoom]"))
    button.addEventListener("click", () => setZoom(button.dataset.zoom));
  for (const button of root.querySelectorAll("[data-place]"))
    button.addEventListener("click", () => { stop(); go(Number(button.dataset.place)); });
  for (const button of document.querySelectorAll("[data-frame].jump"))
    button.addEventListener("click", () => {
      goToFrame(Number(button.dataset.frame));
      root.scrollIntoView({ block: "nearest" });
    });
  find("factor").addEventListener("change", (event) => { state.factor = Number(event.target.value); draw(); });
  find("first").addEventListener("click", () => { stop(); go(0); });
  find("last").addEventListener("click", () => { stop(); go(frames.length - 1); });
  find("back").addEventListener("click", () => { stop(); go(state.place - 1); });
  find("forward").addEventListener("click", () => { stop(); go(state.place + 1); });
  find("play").addEventListener("click", play);
  find("slider").addEventListener("input", (event) => { stop(); go(Number(event.target.value)); });
  if (find("flagged")) find("flagged").addEventListener("click", goToNextFlagged);

  for (const svg of document.querySelectorAll(".plot svg"))
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect(), { first, last, left, right, width } = svg.dataset;
      const x = ((event.clientX - box.left) / box.width) * width;
      const share = Math.max(0, Math.min(1, (x - left) / (right - left)));
      goToFrame(Number(first) + share * (last - first));
    });

  function moveWipe(event) {
    if (state.view !== "wipe") return;
    const box = canvas.getBoundingClientRect();
    state.wipe = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    draw();
  }
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); moveWipe(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) moveWipe(event); });

  const KEYS = {
    ArrowLeft: () => { stop(); go(state.place - 1); },
    ArrowRight: () => { stop(); go(state.place + 1); },
    Home: () => { stop(); go(0); },
    End: () => { stop(); go(frames.length - 1); },
    " ": play,
    f: () => setZoom("fit"),
    z: () => setZoom("face"),
    l: () => { find("loop").checked = !find("loop").checked; },
    n: goToNextFlagged,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const view = data.views[Number(key) - 1];
    if (key !== " " && view) setView(view);
    else if (KEYS[key] && !(key === " " && event.target.tagName === "BUTTON" && event.target.id !== "play")) KEYS[key]();
    else return;
    event.preventDefault();
  });
  draw();
})();
