// @ts-check
// The voxels of the page: slices from JPEG, masks from runs of labels.
"use strict";

/**
 * @typedef {{value: number, name: string, color: number[], shown: boolean}} Label
 * @typedef {{name: string, runs: string, style: "outline" | "fill" | "heat", labels: Label[]}} Stored
 * @typedef {{name: string, low: number, high: number}} HuWindow
 * @typedef {object} Data
 * @property {[number, number, number]} shape slices, rows, columns
 * @property {number} step voxels of the scan along a side of a pixel of a slice
 * @property {[number, number, number]} voxels of the scan itself
 * @property {[number, number, number]} spacing in mm
 * @property {boolean} sized whether the spacing is known
 * @property {number[]} hu the HU of each code
 * @property {HuWindow[]} windows
 * @property {Stored[]} layers
 * @property {[number, number, number]} start
 * @property {(number | null)[]} signs probability by slice
 */

/**
 * @param {string} id
 * @returns {string} the text of an element
 */
function textOf(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found.textContent || "";
}

/**
 * @param {string} text in base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(text) {
  const native = /** @type {any} */ (Uint8Array).fromBase64; // browsers since 2025, ten times as fast
  if (native) return native.call(Uint8Array, text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let place = 0; place < bytes.length; place++) bytes[place] = characters.charCodeAt(place);
  return bytes;
}

/**
 * Decodes all slices, those near the one in sight before the others, while the reader does nothing.
 * @param {string[]} lines a JPEG in base64 for each slice
 * @param {Uint8Array} codes filled with the codes of all voxels
 * @param {Uint8Array} ready set to 1 for each slice that is there
 * @param {[number, number, number]} shape
 * @param {() => number} inSight the slice that is shown
 * @param {(slice: number) => void} done called for each slice
 */
async function decodeSlices(lines, codes, ready, shape, inSight, done) {
  const [count, rows, columns] = shape;
  const missing = new Set(Array.from({ length: count }, (_, slice) => slice));
  const next = () => {
    const slice = nearest(missing, inSight());
    missing.delete(slice);
    return slice;
  };
  const decodeNext = async () => {
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("this browser draws no canvas");
    while (missing.size) {
      const slice = next();
      const jpeg = new Blob([bytesOf(lines[slice])], { type: "image/jpeg" });
      const image = await createImageBitmap(jpeg, { colorSpaceConversion: "none" });
      context.drawImage(image, 0, 0);
      image.close();
      const rgba = context.getImageData(0, 0, columns, rows).data;
      const base = slice * rows * columns;
      for (let place = 0; place < rows * columns; place++) codes[base + place] = rgba[4 * place];
      ready[slice] = 1;
      done(slice);
      await idle();
    }
  };
  await Promise.all([decodeNext(), decodeNext()]);
}

/** Waits until the browser has nothing else to do, or for a moment. */
function idle() {
  const wait = globalThis.requestIdleCallback; // Safari has none
  return new Promise((resolve) => (wait ? wait(resolve, { timeout: 100 }) : setTimeout(resolve)));
}

/**
 * @param {Iterable<number>} numbers
 * @param {number} wanted
 * @returns {number} the one of them that is nearest
 */
function nearest(numbers, wanted) {
  let best = Infinity;
  for (const number of numbers) if (Math.abs(number - wanted) < Math.abs(best - wanted)) best = number;
  return best;
}

/**
 * @param {string} text gzip in base64
 * @param {number} size number of voxels
 * @returns {Promise<Uint8Array>} the label of each voxel
 */
async function decodeRuns(text, size) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = await new Response(stream).arrayBuffer();
  const count = bytes.byteLength / 5;
  const lengths = new DataView(bytes, 0, 4 * count);
  const values = new Uint8Array(bytes, 4 * count);
  const labels = new Uint8Array(size);
  for (let run = 0, place = 0; run < count; run++) {
    const stop = place + lengths.getUint32(4 * run, true);
    if (values[run]) labels.fill(values[run], place, stop);
    place = stop;
  }
  return labels;
}
