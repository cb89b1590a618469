// @ts-check
// Numbers as text, to the same digits as in the files and pictures.
"use strict";

/**
 * A number with a thin space between thousands. Ties go to the even digit, as in Python.
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  const exact = value.toFixed(60);
  const stop = exact.indexOf(".") + (digits ? digits + 1 : 0);
  const isTie = /^\.?50*$/.test(exact.slice(stop));
  const text = isTie && /[02468]$/.test(exact.slice(0, stop)) ? exact.slice(0, stop) : value.toFixed(digits);
  const [whole, part] = text.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, "\u202f"), ...(part ? [part] : [])].join(".");
}

/**
 * A probability in words, because no model is certain.
 * @param {number} probability
 */
function inPercent(probability) {
  if (probability < 0.01) return "below 1 %";
  return probability > 0.99 ? "over 99 %" : `${rounded(100 * probability, 0)} %`;
}
