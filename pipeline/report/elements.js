"use strict";
// Making elements, and writing numbers. Text only ever becomes text nodes.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function node(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

// A chart that a screen reader announces by its name; marks carry titles of their own.
function chart(name, width, height, ...children) {
  const attributes = { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name };
  return shape("svg", attributes, ...children);
}

function readData(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(value) {
  return value === null || value === undefined ? "–" : grouped.format(value);
}

// Three digits: 0.0214, 1.23, 45.6, 1,234.
function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return grouped.format(value);
  if (size >= 10) return value.toFixed(1);
  return size >= 1 ? value.toFixed(2) : String(Number(value.toPrecision(3)));
}

// Two digits after the point, so that those of a column stand below each other.
function seconds(value) {
  return value === null || value === undefined ? "–" : `${value >= 1000 ? grouped.format(value) : value.toFixed(2)} s`;
}

function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(share * 100).toFixed(share === 0 || share === 1 ? 0 : 1)} %`;
}

// 3725.5 -> 1:02:05.5
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const whole = Math.floor(tenths / 10);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const text = `${parts[0]}:${String(parts[1]).padStart(2, "0")}:${String(parts[2]).padStart(2, "0")}`;
  return tenths % 10 ? `${text}.${tenths % 10}` : text;
}

function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// The address of a question, and of a moment of it: by its key, which no other order or filter changes.
function addressOf(key, moment = null) {
  const time = moment === null ? "" : `&t=${Number(moment.toFixed(3))}`;
  return `#q=${encodeURIComponent(key)}${time}`;
}

function readAddress(hash) {
  const fields = new URLSearchParams(hash.slice(1));
  const moment = Number.parseFloat(fields.get("t"));
  return { key: fields.get("q"), moment: Number.isFinite(moment) ? Math.max(0, moment) : null };
}

function lastPart(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

// The file and the two folders that hold it.
function pathEnd(path) {
  const parts = path.split("/");
  return parts.length > 4 ? `…/${parts.slice(-3).join("/")}` : path;
}
