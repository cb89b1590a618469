// @ts-check
/// <reference path="scan.js" />
// What the reader does: pointers, keys and buttons.
"use strict";

/** Fits every canvas to its place on the screen; drawn at once, as a canvas of a new size is empty. */
function fit() {
  const ratio = globalThis.devicePixelRatio || 1;
  for (const { canvas } of views) {
    const { clientWidth, clientHeight } = canvas;
    canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(clientHeight * ratio));
  }
  drawNow();
}

/**
 * Moves the crosshair to where a pointer is.
 * @param {View} view
 * @param {PointerEvent} event
 */
function point(view, event) {
  if (!view.cut) return;
  const box = boxOf(view.cut, view.canvas);
  const around = view.canvas.getBoundingClientRect();
  const x = ((event.clientX - around.left) / around.width) * view.canvas.width;
  const y = ((event.clientY - around.top) / around.height) * view.canvas.height;
  const [, across, down] = AXES[view.plane];
  const lower = Math.floor(((y - box.top) / box.height) * view.cut.height);
  go(across, Math.floor(((x - box.left) / box.width) * view.cut.width));
  go(down, down ? lower : data.shape[0] - 1 - lower);
}

/** @param {View} view */
function listen(view) {
  const { canvas } = view;
  let turned = 0;
  let from = { x: 0, y: 0, index: 0, low: 0, high: 0 };
  canvas.setAttribute("aria-valuemax", String(data.shape[view.axis]));
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return; // the zoom of the browser
    event.preventDefault();
    turned += event.deltaMode ? 40 * event.deltaY : event.deltaY;
    const steps = Math.trunc(turned / 40);
    turned -= 40 * steps;
    go(view.axis, state.at[view.axis] - steps);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = { x: event.clientX, y: event.clientY, index: state.at[view.axis], low: state.window.low, high: state.window.high };
    if (event.pointerType !== "touch" && event.button === 0) point(view, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const down = event.clientY - from.y;
    if (event.pointerType === "touch") go(view.axis, from.index - down / 6);
    else if (event.buttons === 2) own(from.low - 2 * down - 2 * (event.clientX - from.x), from.high - 2 * down + 2 * (event.clientX - from.x));
    else if (event.buttons === 1) point(view, event);
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = Math.abs(event.clientY - from.y) + Math.abs(event.clientX - from.x);
    if (event.pointerType === "touch" && moved < 6) point(view, event);
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => enlarge(canvas));
  canvas.addEventListener("keydown", (event) => press(view, event));
}

/**
 * @param {View} view
 * @param {KeyboardEvent} event
 */
function press(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const index = state.at[view.axis];
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowUp: () => go(view.axis, index + 1),
    ArrowRight: () => go(view.axis, index + 1),
    ArrowDown: () => go(view.axis, index - 1),
    ArrowLeft: () => go(view.axis, index - 1),
    PageUp: () => go(view.axis, index + 10),
    PageDown: () => go(view.axis, index - 10),
    Home: () => go(view.axis, 0),
    End: () => go(view.axis, data.shape[view.axis] - 1),
    1: () => choose("window", "0"),
    2: () => choose("window", "1"),
    3: () => choose("window", "2"),
    m: () => choose("style", state.style === "none" ? "usual" : "none"),
    f: () => choose("style", state.style === "fill" ? "outline" : "fill"),
    p: () => input("compare").click(),
    c: () => input("cross").click(),
    z: () => enlarge(view.canvas),
  };
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

/**
 * Clicks one of several buttons.
 * @param {string} name
 * @param {string} value
 */
function choose(name, value) {
  const button = document.querySelector(`input[name="${name}"][value="${value}"]`);
  if (button instanceof HTMLInputElement) button.click();
}

/** @param {HTMLCanvasElement} canvas */
function enlarge(canvas) {
  const place = /** @type {HTMLElement} */ (document.getElementById("views"));
  const single = place.classList.toggle("single");
  for (const view of views) view.canvas.classList.toggle("large", single && view.canvas === canvas);
  canvas.focus();
  fit();
}

/**
 * Sets the own window.
 * @param {number} low
 * @param {number} high
 */
function own(low, high) {
  Object.assign(data.windows[2], { low: Math.round(low), high: Math.round(Math.max(high, low + 1)) });
  choose("window", "2");
  useWindow(2);
}

/** @param {number} number */
function useWindow(number) {
  Object.assign(state.window, data.windows[number]);
  input("low").value = String(state.window.low);
  input("high").value = String(state.window.high);
  redraw();
}

/** Whether both numbers are given, the lower one first. */
function isWindow() {
  const [low, high] = [input("low").value, input("high").value];
  return low !== "" && high !== "" && Number(low) < Number(high);
}

function listenToControls() {
  const controls = /** @type {HTMLFormElement} */ (document.getElementById("controls"));
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", (event) => {
    const changed = /** @type {HTMLInputElement} */ (event.target);
    if (changed.name === "window") useWindow(Number(changed.value));
    if (changed.name === "style") state.style = changed.value;
    if ((changed.id === "low" || changed.id === "high") && isWindow()) own(Number(input("low").value), Number(input("high").value));
    redraw();
  });
  input("opacity").addEventListener("input", () => {
    state.opacity = Number(input("opacity").value) / 100;
    redraw();
  });
  input("cross").addEventListener("change", () => {
    state.cross = input("cross").checked;
    draw();
  });
  input("compare").addEventListener("change", () => {
    const beside = input("compare").checked;
    if (!beside && views[1].canvas.classList.contains("large")) enlarge(views[1].canvas);
    views[1].canvas.hidden = !beside;
    /** @type {HTMLElement} */ (document.getElementById("views")).classList.toggle("compare", beside);
    fit();
  });
}

function listenToProfile() {
  const along = input("along");
  if (!along) return;
  along.max = String(data.shape[0] - 1);
  along.addEventListener("input", () => go(0, data.shape[0] - 1 - Number(along.value)));
  for (const chart of document.querySelectorAll(".profile, .lane svg")) {
    const jump = (/** @type {PointerEvent} */ event) => {
      const around = chart.getBoundingClientRect();
      go(0, data.shape[0] * (1 - (event.clientX - around.left) / around.width) - 0.5);
    };
    chart.addEventListener("pointerdown", (event) => jump(/** @type {PointerEvent} */ (event)));
    chart.addEventListener("pointermove", (event) => {
      if (/** @type {PointerEvent} */ (event).buttons === 1) jump(/** @type {PointerEvent} */ (event));
    });
  }
}

/**
 * A box to tick for a label.
 * @param {Label} label
 * @param {number[][]} colors side by side
 */
function addTick(label, colors) {
  const line = document.createElement("label");
  const tick = document.createElement("input");
  tick.type = "checkbox";
  tick.checked = label.shown;
  tick.addEventListener("change", () => {
    label.shown = tick.checked;
    redraw();
  });
  const chip = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  chip.setAttribute("viewBox", "0 0 1 1");
  chip.setAttribute("aria-hidden", "true");
  colors.forEach((color, place) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const sides = { x: place / colors.length, width: 1 / colors.length, height: 1, fill: `rgb(${color.join()})` };
    for (const [name, value] of Object.entries(sides)) part.setAttribute(name, String(value));
    chip.append(part);
  });
  line.append(tick, chip, label.name);
  /** @type {HTMLElement} */ (document.getElementById("layers")).append(line);
}

start().catch(complain);
