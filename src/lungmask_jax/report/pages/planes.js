// @ts-check
/// <reference path="volume.js" />
// A plane of the volume with its masks: values, colors, borders, and its place in a canvas.
"use strict";

/**
 * @typedef {"axial" | "coronal" | "sagittal"} Plane
 * @typedef {{name: string, style: "outline" | "fill" | "heat", labels: Label[], values: Uint8Array}} Layer
 * @typedef {object} Cut
 * @property {number} width
 * @property {number} height
 * @property {number} first place of the upper left voxel
 * @property {number} right places to the next column
 * @property {number} down places to the next row
 * @property {number} wide mm of a column
 * @property {number} tall mm of a row
 * @typedef {{path: Path2D, color: string}} Line
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 */

/** Which axis of the volume a plane is moved along, and which ones run across and down. */
const AXES = { axial: [0, 2, 1], coronal: [1, 2, 0], sagittal: [2, 1, 0] };
/** What is counted along each axis of the volume. */
const NAMES = ["slice", "row", "column"];
/** The letters on the left, right, top and bottom of a plane. */
const SIDES = { axial: "RLAP", coronal: "RLHF", sagittal: "APHF" };

/**
 * @param {Data} data
 * @param {Plane} plane
 * @param {number} index
 * @returns {Cut}
 */
function cutOf(data, plane, index) {
  const [count, rows, columns] = data.shape;
  const [slice, row, column] = data.spacing;
  const size = rows * columns;
  if (plane === "axial") {
    return { width: columns, height: rows, first: index * size, right: 1, down: columns, wide: column, tall: row };
  }
  const last = (count - 1) * size;
  return plane === "coronal"
    ? { width: columns, height: count, first: last + index * columns, right: 1, down: -size, wide: column, tall: slice }
    : { width: rows, height: count, first: last + index, right: columns, down: -size, wide: row, tall: slice };
}

/**
 * Runs of rows of a plane whose slices are not decoded yet.
 * @param {Plane} plane
 * @param {number} index
 * @param {number} height
 * @param {Uint8Array} ready whether each slice is
 * @returns {[number, number][]} the first row, and the one after the last
 */
function missingOf(plane, index, height, ready) {
  /** @type {[number, number][]} */
  const runs = [];
  for (let y = 0, from = -1; y <= height; y++) {
    const there = y === height || ready[plane === "axial" ? index : height - 1 - y] === 1;
    if (!there && from < 0) from = y;
    if (!there || from < 0) continue;
    runs.push([from, y]);
    from = -1;
  }
  return runs;
}

/**
 * @param {Cut} cut
 * @param {Uint8Array} volume
 * @returns {Uint8Array} the values of the plane, row by row
 */
function valuesOf(cut, volume) {
  if (cut.right === 1 && cut.down === cut.width) return volume.subarray(cut.first, cut.first + cut.width * cut.height);
  const values = new Uint8Array(cut.width * cut.height);
  for (let y = 0, to = 0; y < cut.height; y++) {
    let from = cut.first + y * cut.down;
    for (let x = 0; x < cut.width; x++, from += cut.right) values[to++] = volume[from];
  }
  return values;
}

/**
 * @param {number[]} hu the HU of each code
 * @param {HuWindow} window
 * @returns {Uint32Array} the opaque gray of each code, as in a canvas
 */
function graysOf(hu, window) {
  const width = Math.max(1, window.high - window.low);
  return Uint32Array.from(hu, (value) => {
    const gray = Math.round(255 * Math.min(1, Math.max(0, (value - window.low) / width)));
    return (0xff000000 | (gray << 16) | (gray << 8) | gray) >>> 0;
  });
}

/**
 * Draws values into a canvas, one pixel each.
 * @param {HTMLCanvasElement} canvas
 * @param {Cut} cut
 * @param {Uint8Array} values
 * @param {Uint32Array} colors of each value
 */
function paint(canvas, cut, values, colors) {
  canvas.width = cut.width;
  canvas.height = cut.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(cut.width, cut.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let place = 0; place < values.length; place++) pixels[place] = colors[values[place]];
  context.putImageData(image, 0, 0);
}

/**
 * @param {number[]} color
 * @param {number} opacity from 0 to 1
 * @returns {number} as in a canvas
 */
function packed(color, opacity) {
  const [red, green, blue] = color;
  return ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @param {number} share from 0 to 1
 * @returns {number[]} the color of a map
 */
function heat(share) {
  return [68 + 185 * share, 40 + 191 * share, 110 - 73 * share].map(Math.round);
}

/**
 * The colors of a layer that is filled: those of its labels, or of a map that gets brighter.
 * @param {Layer} layer
 * @param {number} opacity
 */
function fillsOf(layer, opacity) {
  const colors = new Uint32Array(256);
  for (const label of layer.labels.filter((one) => one.shown)) {
    if (layer.style === "heat") {
      for (let value = 1; value < 256; value++) { // as in the legend
        const share = Math.min(1, value / label.value);
        colors[value] = packed(heat(share), Math.min(1, 2 * opacity * share));
      }
    } else {
      colors[label.value] = packed(label.color, opacity);
    }
  }
  return colors;
}

/**
 * Rows and columns that hold a label; the last row is before the first if none does.
 * @param {Uint8Array} values
 * @param {number} width
 * @param {number} label
 */
function extentOf(values, width, label) {
  const first = values.indexOf(label);
  if (first < 0) return { top: 0, bottom: -1, left: 0, right: -1 };
  const top = Math.floor(first / width), bottom = Math.floor(values.lastIndexOf(label) / width);
  let left = width, right = -1;
  for (let y = top; y <= bottom; y++) {
    const row = y * width;
    for (let x = 0; x < left; x++) if (values[row + x] === label) left = x;
    for (let x = width - 1; x > right; x--) if (values[row + x] === label) right = x;
  }
  return { top, bottom, left, right };
}

/**
 * The border of a label along the sides of pixels, a line for each straight part.
 * @param {Uint8Array} values
 * @param {number} width
 * @param {number} label
 * @returns {Path2D}
 */
function borderOf(values, width, label) {
  const path = new Path2D();
  const { top, bottom, left, right } = extentOf(values, width, label);
  for (let y = top; y <= bottom + 1; y++) {
    for (let x = left, from = -1; x <= right + 1; x++) {
      const place = y * width + x;
      const edge = x <= right && (y <= bottom && values[place] === label) !== (y > top && values[place - width] === label);
      if (edge && from < 0) from = x;
      if (edge || from < 0) continue;
      path.moveTo(from, y);
      path.lineTo(x, y);
      from = -1;
    }
  }
  for (let x = left; x <= right + 1; x++) {
    for (let y = top, from = -1; y <= bottom + 1; y++) {
      const place = y * width + x;
      const edge = y <= bottom && (x <= right && values[place] === label) !== (x > left && values[place - 1] === label);
      if (edge && from < 0) from = y;
      if (edge || from < 0) continue;
      path.moveTo(x, from);
      path.lineTo(x, y);
      from = -1;
    }
  }
  return path;
}

/**
 * Where a cut lies in a canvas: as large as fits, in true proportions.
 * @param {Cut} cut
 * @param {HTMLCanvasElement} canvas
 * @returns {Box}
 */
function boxOf(cut, canvas) {
  const wide = cut.width * cut.wide, tall = cut.height * cut.tall;
  const scale = Math.min(canvas.width / wide, canvas.height / tall);
  const width = wide * scale, height = tall * scale;
  return { left: (canvas.width - width) / 2, top: (canvas.height - height) / 2, width, height };
}
