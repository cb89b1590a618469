// @ts-check
// The page of an evaluation: the dots of a case belong together, in all charts and in the table.
"use strict";

/** @type {NodeListOf<SVGCircleElement>} */
const dots = document.querySelectorAll("circle[data-case]");
const cases = [...new Set(table.rows.map((row) => row[NAME]))];

/**
 * @param {EventTarget | null} target
 * @returns {string | undefined} the name of the case of a dot
 */
function caseAt(target) {
  return target instanceof SVGCircleElement && target.dataset.case ? cases[Number(target.dataset.case)] : undefined;
}

/** Makes the dots of cases faint that are not in the table. */
function dim() {
  const shown = new Set(state.rows.map((row) => row[NAME]));
  for (const dot of dots) dot.classList.toggle("dim", !shown.has(caseAt(dot) ?? ""));
}

/** @param {PointerEvent} event */
function point({ target }) {
  const name = caseAt(target);
  for (const dot of dots) dot.classList.toggle("hot", name !== undefined && caseAt(dot) === name);
  if (name !== undefined && target instanceof SVGCircleElement && !target.firstChild) {
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = name;
    target.append(title);
  }
}

/** @param {MouseEvent} event */
function choose({ target }) {
  const name = caseAt(target);
  const text = element("text");
  if (name === undefined || !(text instanceof HTMLInputElement)) return;
  text.value = text.value === name ? "" : name;
  text.dispatchEvent(new Event("input", { bubbles: true }));
}

element("filters").addEventListener("input", dim);
document.addEventListener("pointerover", point);
document.addEventListener("click", choose);
