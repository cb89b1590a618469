// @ts-check
/// <reference path="numbers.js" />
// The page of a folder: a table that stays quick with many rows, as only those in sight are made.
"use strict";

/**
 * @typedef {[string, string, string, string, string, ...(string | number | null)[]]} Row
 *   name, address of the page, picture, problem, notes, and a value for each column
 * @typedef {{key: string, name: string, digits?: number}} Column
 * @typedef {object} Table
 * @property {string} noun
 * @property {string} head
 * @property {Column[]} columns
 * @property {Row[]} rows
 * @property {Record<string, string>} [patients] the address of the page of a patient
 */

/** Places in a row. */
const NAME = 0, PAGE = 1, PICTURE = 2, PROBLEM = 3, NOTES = 4, FIRST = 5;
/** Pixels of a row, as in the style. */
const TALL = 44;
/** Rows beyond the edges that are made, too. */
const MORE = 8;

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** @type {Table} */
const table = JSON.parse(element("data").textContent || "");
const texts = new Intl.Collator(undefined, { numeric: true });
const isNoted = table.rows.some((row) => row[PROBLEM] || row[NOTES]);
const state = { rows: table.rows, column: -1, descending: false, all: false };
/** @type {Map<number, HTMLTableRowElement>} */
const made = new Map();

/** @param {string} id */
function chosen(id) {
  const found = document.getElementById(id);
  return found instanceof HTMLInputElement || found instanceof HTMLSelectElement ? found.value : "";
}

/** @param {Row} row */
function isDoubted(row) {
  return ["look", "fail"].includes(String(row[placeOf("qc")]));
}

/**
 * @param {string} key
 * @returns {number} the place of its value in a row; -1 if there is no such column
 */
function placeOf(key) {
  const place = table.columns.findIndex((one) => one.key === key);
  return place < 0 ? place : place + FIRST;
}

/** The rows that pass the filters, in the order that was asked for. */
function select() {
  const text = chosen("text").toLowerCase();
  const wanted = chosen("state");
  const places = ["severity", "qc", "label"].map((key) => /** @type {const} */ ([placeOf(key), chosen(key)]));
  state.rows = table.rows.filter((row) => {
    const kind = row[PROBLEM] ? "problem" : row[NOTES] || isDoubted(row) ? "doubt" : "well";
    return (
      (!text || [NAME, NOTES, PROBLEM, placeOf("patient")].some((place) => String(row[place] ?? "").toLowerCase().includes(text))) &&
      (!wanted || wanted === kind) &&
      places.every(([place, value]) => !value || row[place] === value)
    );
  });
  if (state.column >= 0) state.rows.sort((one, two) => compare(one[state.column], two[state.column]));
  const many = (/** @type {number} */ count) => `${count} ${table.noun}${count === 1 ? "" : "s"}`;
  const shown = state.rows.length;
  element("count").textContent = shown === table.rows.length ? many(shown) : `${shown} of ${many(table.rows.length)}`;
  element("table").setAttribute("aria-rowcount", String(shown + 1));
  for (const row of made.values()) row.remove();
  made.clear();
  element("window").scrollTop = 0;
  show();
}

/**
 * @param {string | number | null} one
 * @param {string | number | null} two
 * @returns {number} what is missing comes last
 */
function compare(one, two) {
  if (one === null || two === null || one === two) return Number(one === null) - Number(two === null);
  const order = typeof one === "number" && typeof two === "number" ? one - two : texts.compare(String(one), String(two));
  return state.descending ? -order : order;
}

/** Makes the rows in sight, and removes those that no longer are. */
function show() {
  const frame = element("window");
  const count = state.rows.length;
  const first = state.all ? 0 : Math.max(0, Math.floor(frame.scrollTop / TALL) - MORE);
  const stop = state.all ? count : Math.min(count, Math.ceil((frame.scrollTop + innerHeight) / TALL) + MORE);
  for (const [place, row] of made) {
    if (place >= first && place < stop) continue;
    if (row.contains(document.activeElement)) frame.focus({ preventScroll: true }); // keys still scroll
    row.remove();
    made.delete(place);
  }
  const body = element("body");
  const [before, after] = gaps(body);
  before.style.height = `${first * TALL}px`;
  after.style.height = `${(count - stop) * TALL}px`;
  for (let place = stop - 1, next = /** @type {Element} */ (after); place >= first; place--) {
    let row = made.get(place);
    if (!row) {
      row = rowOf(state.rows[place], place);
      made.set(place, row);
      body.insertBefore(row, next);
    }
    next = row;
  }
}

/**
 * @param {HTMLElement} body
 * @returns {[HTMLElement, HTMLElement]} rows that stand for those out of sight
 */
function gaps(body) {
  if (!body.childElementCount) {
    for (let side = 0; side < 2; side++) {
      const row = document.createElement("tr");
      row.className = "gap";
      row.setAttribute("aria-hidden", "true");
      row.append(document.createElement("td"));
      body.append(row);
    }
  }
  return [/** @type {HTMLElement} */ (body.firstElementChild), /** @type {HTMLElement} */ (body.lastElementChild)];
}

/**
 * @param {Row} values
 * @param {number} place
 */
function rowOf(values, place) {
  const row = document.createElement("tr");
  row.setAttribute("aria-rowindex", String(place + 2));
  row.classList.toggle("problem", Boolean(values[PROBLEM]));
  row.append(pictureOf(values), nameOf(values));
  const remark = isNoted ? [remarkOf(values)] : [];
  if (values[PROBLEM] && values.slice(FIRST).every((value) => value === null)) {
    remark[0].colSpan = table.columns.length + 1; // the reason is all there is
  } else {
    table.columns.forEach((column, number) => row.append(valueOf(column, values[FIRST + number])));
  }
  row.append(...remark);
  return row;
}

/** @param {Row} values */
function pictureOf(values) {
  const made = document.createElement("td");
  if (values[PICTURE]) {
    const picture = document.createElement("img");
    picture.src = `data:image/webp;base64,${values[PICTURE]}`;
    picture.alt = "";
    made.append(picture);
  }
  return made;
}

/** @param {Row} values */
function nameOf(values) {
  const head = document.createElement("th");
  head.scope = "row";
  head.className = "text name";
  head.title = values[NAME];
  head.append(linked(values[NAME], values[PAGE]));
  return head;
}

/**
 * A text in the direction of its letters.
 * @param {string} text
 * @param {string} [page] that it leads to
 */
function linked(text, page) {
  const shown = document.createElement("bdi");
  shown.textContent = text;
  if (!page) return shown;
  const link = document.createElement("a");
  link.href = `./${page}`;
  link.append(shown);
  return link;
}

/**
 * @param {Column} column
 * @param {string | number | null} value
 */
function valueOf(column, value) {
  if (column.key !== "patient" || value === null) return cell(formatted(column, value));
  const made = cell("", "text name");
  made.title = String(value);
  made.append(linked(String(value), table.patients?.[value]));
  return made;
}

/**
 * Notes or a problem in two lines, which a click shows in full.
 * @param {Row} values
 */
function remarkOf(values) {
  const text = values[PROBLEM] || values[NOTES];
  const made = cell("", "text remark");
  if (!text) return made;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => showWhole(`${values[NAME]}: ${text}`));
  made.append(button);
  return made;
}

/**
 * Shows a text above the table until the reader clicks elsewhere or presses Escape.
 * @param {string} text
 */
function showWhole(text) {
  let whole = document.getElementById("whole");
  if (!whole) {
    whole = document.createElement("div");
    whole.id = "whole";
    whole.className = "whole card";
    whole.popover = "auto";
    document.body.append(whole);
  }
  whole.textContent = text;
  whole.showPopover();
}

/**
 * @param {string} text
 * @param {string} [kind]
 */
function cell(text, kind = "") {
  const made = document.createElement("td");
  made.className = kind;
  made.textContent = text;
  return made;
}

/**
 * @param {Column} column
 * @param {string | number | null} value
 */
function formatted({ key, digits }, value) {
  if (typeof value !== "number") return value ?? "";
  if (key === "signs_of_pneumonia") return inPercent(value);
  return rounded(value, digits ?? (Math.abs(value) < 100 ? 1 : 0));
}

/**
 * @param {string} name
 * @param {number} place in the rows
 */
function addHead(name, place) {
  const head = document.createElement("th");
  head.scope = "col";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => {
    state.descending = state.column === place ? !state.descending : place >= FIRST;
    state.column = place;
    for (const other of element("heads").children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    select();
  });
  head.className = place < FIRST || place === placeOf("patient") ? "text" : "";
  head.append(button);
  element("heads").append(head);
}

function start() {
  element("heads").append(cell(""));
  addHead(table.head, NAME);
  table.columns.forEach((column, number) => addHead(column.name, FIRST + number));
  if (isNoted) addHead("Notes and problems", NOTES);
  element("filters").addEventListener("input", select);
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  element("window").addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(element("window"));
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));
  select();
  document.documentElement.dataset.loaded = String(Math.round(performance.now()));
}

/** @param {boolean} now whether all rows are needed, on paper */
function printing(now) {
  state.all = now;
  show();
}

start();
