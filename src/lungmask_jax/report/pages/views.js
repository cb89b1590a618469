// @ts-check
/// <reference path="planes.js" />
// What a view shows: a plane with its masks, a crosshair, the patient's sides, the window, a bar of 5 cm.
"use strict";

/** A canvas with what it showed last, so that only what changed is made again. */
class View {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Plane} plane
   * @param {boolean} marked whether masks are shown
   */
  constructor(canvas, plane, marked) {
    this.canvas = canvas;
    this.plane = plane;
    this.marked = marked;
    this.axis = AXES[plane][0];
    this.gray = document.createElement("canvas");
    this.still = document.createElement("canvas");
    this.kept = "";
    /** @type {HTMLCanvasElement[]} */
    this.fills = [];
    /** @type {Line[]} */
    this.lines = [];
    /** @type {Cut | null} */
    this.cut = null;
    /** @type {[number, number][]} */
    this.missing = [];
    this.made = "";
  }

  /**
   * Makes the pictures of a plane.
   * @param {Data} data
   * @param {number} index
   * @param {Uint8Array} codes
   * @param {Uint8Array} ready whether each slice is decoded
   * @param {Uint32Array} grays
   * @param {Layer[]} layers those to show
   * @param {number} opacity
   */
  make(data, index, codes, ready, grays, layers, opacity) {
    const cut = cutOf(data, this.plane, index);
    this.cut = cut;
    this.missing = missingOf(this.plane, index, cut.height, ready);
    paint(this.gray, cut, valuesOf(cut, codes), grays);
    this.fills = [];
    this.lines = [];
    for (const layer of this.marked ? layers : []) {
      const values = valuesOf(cut, layer.values);
      const labels = layer.labels.filter((label) => label.shown && (layer.style === "heat" || values.includes(label.value)));
      if (labels.length && layer.style !== "outline") {
        const fill = document.createElement("canvas");
        paint(fill, cut, values, fillsOf(layer, opacity));
        this.fills.push(fill);
      }
      for (const label of layer.style === "heat" ? [] : labels) {
        const path = borderOf(values, cut.width, label.value);
        this.lines.push({ path, color: `rgb(${label.color.join()})` });
      }
    }
  }

  /**
   * Puts the pictures onto the canvas, with the crosshair and what they are.
   * @param {[number, number] | null} cross where it is, in voxels across and down
   * @param {string[]} titles the longest first
   * @param {string} corner
   * @param {boolean} sized
   */
  show(cross, titles, corner, sized) {
    const { canvas, cut } = this;
    const context = canvas.getContext("2d");
    if (!context || !cut) return;
    const ratio = globalThis.devicePixelRatio || 1;
    const box = boxOf(cut, canvas);
    const state = [this.made, canvas.width, canvas.height].join();
    if (state !== this.kept) this.keep(cut, box, ratio);
    this.kept = state;
    context.drawImage(this.still, 0, 0);
    if (cross) drawCross(context, cut, box, cross, ratio);
    const shown = this.missing.length ? titles.map((title) => `${title}, loading`) : titles;
    drawTexts(context, this, box, shown, corner, sized, ratio);
  }

  /**
   * Keeps the plane with its masks as it is on the screen; a crosshair that moves leaves it as it is.
   * @param {Cut} cut
   * @param {Box} box
   * @param {number} ratio
   */
  keep(cut, box, ratio) {
    const { canvas, still } = this;
    still.width = canvas.width;
    still.height = canvas.height;
    const context = /** @type {CanvasRenderingContext2D} */ (still.getContext("2d", { alpha: false }));
    context.imageSmoothingQuality = "medium";
    context.drawImage(this.gray, box.left, box.top, box.width, box.height);
    drawMissing(context, cut, box, this.missing, ratio);
    context.imageSmoothingEnabled = false;
    for (const fill of this.fills) context.drawImage(fill, box.left, box.top, box.width, box.height);
    const onto = new DOMMatrix([box.width / cut.width, 0, 0, box.height / cut.height, box.left, box.top]);
    context.lineWidth = 1.25 * ratio;
    for (const line of this.lines) {
      const path = new Path2D();
      path.addPath(line.path, onto);
      context.strokeStyle = line.color;
      context.stroke(path);
    }
  }
}

/**
 * Stripes where slices are not decoded yet, which nobody takes for air.
 * @param {CanvasRenderingContext2D} context
 * @param {Cut} cut
 * @param {Box} box
 * @param {[number, number][]} missing
 * @param {number} ratio
 */
function drawMissing(context, cut, box, missing, ratio) {
  if (!missing.length) return;
  const stripe = Math.round(8 * ratio);
  const tile = document.createElement("canvas");
  tile.width = tile.height = 2 * stripe;
  const drawn = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  drawn.fillStyle = "#2a3036";
  drawn.fillRect(0, 0, 2 * stripe, 2 * stripe);
  drawn.fillStyle = "#3a424a";
  for (const x of [-stripe, stripe]) {
    drawn.beginPath();
    for (const [across, down] of [[0, 2], [2, 0], [3, 0], [1, 2]]) drawn.lineTo(x + across * stripe, down * stripe);
    drawn.fill();
  }
  context.fillStyle = /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
  for (const [from, to] of missing) {
    context.fillRect(box.left, box.top + (from / cut.height) * box.height, box.width, ((to - from) / cut.height) * box.height);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Cut} cut
 * @param {Box} box
 * @param {[number, number]} cross
 * @param {number} ratio
 */
function drawCross(context, cut, box, cross, ratio) {
  const x = box.left + ((cross[0] + 0.5) / cut.width) * box.width;
  const y = box.top + ((cross[1] + 0.5) / cut.height) * box.height;
  const gap = 14 * ratio;
  context.lineWidth = ratio;
  context.strokeStyle = "rgba(255, 255, 255, 0.5)";
  context.beginPath();
  for (const [from, to] of [[box.left, x - gap], [x + gap, box.left + box.width]]) {
    context.moveTo(from, y);
    if (from < to) context.lineTo(to, y);
  }
  for (const [from, to] of [[box.top, y - gap], [y + gap, box.top + box.height]]) {
    context.moveTo(x, from);
    if (from < to) context.lineTo(x, to);
  }
  context.stroke();
}

/**
 * The title, the patient's sides, the window in a corner, and a bar of 5 cm.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Box} box
 * @param {string[]} titles of which the first that fits is shown
 * @param {string} corner
 * @param {boolean} sized
 * @param {number} ratio
 */
function drawTexts(context, view, box, titles, corner, sized, ratio) {
  const { canvas, cut } = view;
  const edge = 8 * ratio;
  const sides = SIDES[view.plane];
  const middle = box.left + box.width / 2;
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  const wide = (/** @type {string} */ text) => context.measureText(text).width + 2 * edge;
  const title = titles.find((one) => wide(one) <= canvas.width) ?? titles[titles.length - 1];
  const under = wide(title) + edge > middle ? 16 * ratio : 0; // beside the words there is no room
  const over = wide(corner) + edge > canvas.width - middle ? 16 * ratio : 0;
  const apart = box.height > 60 * ratio ? 0 : 24 * ratio; // of a thin picture, outside it
  /** @type {[string, number, number, CanvasTextAlign, CanvasTextBaseline][]} */
  const texts = [
    [title, edge, edge, "left", "top"],
    [corner, canvas.width - edge, canvas.height - edge, "right", "bottom"],
    [sides[0], box.left + edge, canvas.height / 2, "left", "middle"],
    [sides[1], box.left + box.width - edge, canvas.height / 2, "right", "middle"],
    [sides[2], middle, Math.max(edge + under, box.top + edge - apart), "center", "top"],
    [sides[3], middle, Math.min(canvas.height - edge - over, box.top + box.height - edge + apart), "center", "bottom"],
  ];
  for (const [text, x, y, align, baseline] of texts) write(context, text, x, y, align, baseline, ratio);
  if (!sized || !cut) return;
  const length = (50 / (cut.width * cut.wide)) * box.width;
  const y = canvas.height - edge;
  write(context, "5 cm", edge, y - 5 * ratio, "left", "bottom", ratio);
  context.fillStyle = "#000";
  context.fillRect(edge - ratio, y - 3 * ratio, length + 2 * ratio, 4 * ratio);
  context.fillStyle = "#e8ebee";
  context.fillRect(edge, y - 2 * ratio, length, 2 * ratio);
}

/**
 * Light words on a dark plate, which can be read on lung and on bone.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} align
 * @param {CanvasTextBaseline} baseline
 * @param {number} ratio
 */
function write(context, text, x, y, align, baseline, ratio) {
  context.textAlign = align;
  context.textBaseline = baseline;
  const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right, actualBoundingBoxAscent: above, actualBoundingBoxDescent: below } = context.measureText(text);
  const pad = 3 * ratio;
  context.fillStyle = "rgba(11, 13, 15, 0.62)";
  context.fillRect(x - left - pad, y - above - pad, left + right + 2 * pad, above + below + 2 * pad);
  context.fillStyle = "#e8ebee";
  context.fillText(text, x, y);
}
