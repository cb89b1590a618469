// @ts-check
/// <reference path="views.js" />
// The page of one scan: what is shown of it.
"use strict";

/** @type {Data} */
const data = JSON.parse(textOf("data"));
const codes = new Uint8Array(data.shape[0] * data.shape[1] * data.shape[2]);
const ready = new Uint8Array(data.shape[0]);
const state = {
  at: data.start,
  window: { ...data.windows[0] },
  style: "usual",
  opacity: 0.45,
  cross: true,
  version: 0,
};
/** @type {Layer[]} */
const layers = [];
/** @type {View[]} */
const views = [];
let waiting = false;
let failure = "";

/**
 * @param {string} id
 * @returns {HTMLInputElement}
 */
function input(id) {
  return /** @type {HTMLInputElement} */ (document.getElementById(id));
}

/** Draws everything that changed, once before the next picture of the screen. */
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  waiting = false;
  const grays = graysOf(data.hu, state.window);
  const shown = layers.map((layer) => ({ ...layer, style: styleOf(layer) })).filter((layer) => layer.style !== "none");
  for (const view of views.filter((one) => !one.canvas.hidden)) {
    const index = state.at[view.axis];
    const made = [index, state.version].join();
    if (made !== view.made) view.make(data, index, codes, ready, grays, /** @type {Layer[]} */ (shown), state.opacity);
    view.made = made;
    view.show(state.cross ? crossOf(view) : null, titlesOf(view), windowOf(), data.sized);
    describe(view, index);
  }
  mark();
}

/** Makes all pictures again: masks, window or voxels have changed. */
function redraw() {
  state.version++;
  draw();
}

/** @param {Layer} layer */
function styleOf(layer) {
  return state.style === "usual" || (layer.style === "heat" && state.style !== "none") ? layer.style : state.style;
}

/**
 * @param {View} view
 * @returns {[number, number]} the crosshair, in voxels across and down
 */
function crossOf(view) {
  const [, across, down] = AXES[view.plane];
  const y = state.at[down];
  return [state.at[across], down ? y : data.shape[0] - 1 - y];
}

/**
 * What a view shows, in full and in ever fewer words, as small screens need.
 * @param {View} view
 */
function titlesOf(view) {
  const index = state.at[view.axis];
  const signs = view.axis === 0 ? data.signs[index] : undefined;
  const likely = typeof signs === "number" ? `, signs ${inPercent(signs)}` : "";
  const plane = view.marked ? view.plane : "plain";
  const [name, number, count] = [NAMES[view.axis], numberOf(view.axis) + 1, data.voxels[view.axis]];
  return [`${plane}, ${placeOf(view.axis)}${likely}`, `${plane}, ${name} ${number} of ${count}`, `${plane} ${number}/${count}`];
}

/**
 * A place as people count and, for programs, as JSON and arrays do.
 * @param {number} axis
 */
function placeOf(axis) {
  const index = numberOf(axis);
  return `${NAMES[axis]} ${index + 1} of ${data.voxels[axis]} (index ${index})`;
}

/**
 * The index in the scan, whose rows and columns may be finer than those of the page.
 * @param {number} axis
 */
function numberOf(axis) {
  return (axis ? data.step : 1) * state.at[axis];
}

/** The window as radiologists write it. */
function windowOf() {
  const { low, high } = state.window;
  return `W ${high - low}  L ${Math.round((low + high) / 2)}`;
}

/**
 * What a screen reader says.
 * @param {View} view
 * @param {number} index
 */
function describe(view, index) {
  view.canvas.setAttribute("aria-valuenow", String(index + 1));
  view.canvas.setAttribute("aria-valuetext", placeOf(view.axis));
}

/** The place of the slice in the profile, and what is under the crosshair. */
function mark() {
  const scaled = layers.some((layer) => layer.style === "heat" && layer.labels[0].shown) && state.style !== "none";
  document.querySelector(".heat")?.classList.toggle("shown", scaled);
  const [slice, row, column] = state.at;
  const x = String((1000 * (data.shape[0] - slice - 0.5)) / data.shape[0]);
  for (const line of document.querySelectorAll("[data-marker]")) {
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
  const along = input("along");
  if (along) along.value = String(data.shape[0] - 1 - slice);
  const place = (slice * data.shape[1] + row) * data.shape[2] + column;
  const here = layers.flatMap((layer) => layer.labels.filter((label) => layer.values[place] === label.value && layer.style !== "heat"));
  const heat = layers.filter((layer) => layer.style === "heat").map((layer) => `${layer.name} ${layer.values[place]} %`);
  const names = [...here.map((label) => label.name), ...heat].join(", ");
  const hu = ready[slice] ? `about ${Math.round(data.hu[codes[place]])} HU` : "loading";
  const text = `${[0, 1, 2].map(placeOf).join(", ")}: ${hu}${names ? `, ${names}` : ""}`;
  /** @type {HTMLElement} */ (document.getElementById("status")).textContent = failure || text;
}

/**
 * @param {number} axis
 * @param {number} index
 */
function go(axis, index) {
  state.at[axis] = Math.max(0, Math.min(data.shape[axis] - 1, Math.round(index)));
  draw();
}

/** @param {unknown} error */
function complain(error) {
  failure = `This browser cannot show the scan: ${error instanceof Error ? error.message : String(error)}`;
  draw();
}

async function start() {
  for (const canvas of document.querySelectorAll("canvas")) {
    const plane = /** @type {Plane | "plain"} */ (canvas.dataset.plane);
    const view = new View(canvas, plane === "plain" ? "axial" : plane, plane !== "plain");
    views.push(view);
    listen(view);
  }
  listenToControls();
  listenToProfile();
  useWindow(0);
  new ResizeObserver(fit).observe(/** @type {HTMLElement} */ (document.getElementById("views")));
  let last = 0;
  const slices = decodeSlices(textOf("slices").split("\n"), codes, ready, data.shape, () => state.at[0], (slice) => {
    if (slice === data.start[0]) note("first");
    if (slice !== state.at[0] && performance.now() - last < 2000) return;
    last = performance.now();
    redraw();
  });
  await Promise.all([slices, addLayers()]);
  redraw();
  note("loaded");
}

/**
 * Notes when something was there, in milliseconds since the page was asked for.
 * @param {"first" | "loaded"} what
 */
function note(what) {
  document.documentElement.dataset[what] = String(Math.round(performance.now()));
}

async function addLayers() {
  const masks = data.layers.map(async ({ name, style, labels, runs }) => ({
    name, style, labels, values: await decodeRuns(runs, codes.length),
  }));
  layers.push(...(await Promise.all(masks)));
  for (const layer of layers) {
    for (const label of layer.labels) addTick(label, layer.style === "heat" ? [heat(0.25), heat(1)] : [label.color]);
  }
  redraw();
}
