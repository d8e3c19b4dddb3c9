// The drawings: the video as a strip of time, entropy by group, pictures with tokens, bars.

const LEVELS = 6;
const LEAST_UNSURE = 0.1; // nats: where all groups are surer than that, none is drawn as unsure
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

// 0 is sure, LEVELS - 1 is not; colours are in the style sheet.
function unsureness(entropy, largest) {
  if (entropy === null) return "unknown";
  return Math.min(LEVELS - 1, Math.floor((entropy / Math.max(largest, 1e-9)) * LEVELS));
}

function largestEntropy(detail) {
  return Math.max(0, ...detail.groups.entropy);
}

function timeAxis(scale, duration, left, width, y) {
  const step = TIME_STEPS.find((one) => duration / one <= Math.max(2, width / 90)) || duration;
  const marks = [shape("line", { class: "axis", x1: left, x2: left + width, y1: y, y2: y })];
  for (let time = 0; time <= duration; time += step) {
    const anchor = time + step > duration && scale(time) > left + width - 24 ? "end" : time === 0 ? "start" : "middle";
    marks.push(shape("line", { class: "axis", x1: scale(time), x2: scale(time), y1: y, y2: y + 4 }));
    marks.push(shape("text", { class: "tick", x: scale(time), y: y + 17, "text-anchor": anchor }, clock(time)));
  }
  return marks;
}

function timeline(detail, width, moment = null, lanes = ["Attention", "Kept tokens"]) {
  const left = width < 520 ? 0 : 104;
  const right = width - 8;
  const duration = detail.duration_s || 1;
  const scale = (time) => left + ((right - left) * Math.min(time, duration)) / duration;
  const span = (start, end, least) => {
    const x = scale(start);
    const size = Math.max(least, scale(end) - x);
    return { x: Math.min(x, right - size), width: size };
  };
  const [pins, attention, tokens, axis] = lanes[0] ? [18, 74, 116, 122] : [0, 0, 38, 44];
  const heaviest = Math.max(...detail.spans.map((one) => one[2]), 1e-12);
  const most = Math.max(...detail.patches.map((one) => one[2]), 1);
  const largest = Math.max(largestEntropy(detail), detail.stop_entropy || 0, LEAST_UNSURE);
  const marks = [
    lanes[0] ? shape("rect", { class: "lane", x: left, width: right - left, y: attention - 52, height: 52 }) : null,
    shape("rect", { class: "lane", x: left, width: right - left, y: tokens - 34, height: 34 }),
  ];
  for (const [start, end, weight, number] of detail.spans) {
    const height = Math.max(3, (weight / heaviest) * 50);
    const place = { ...span(start, end, 3), y: attention - height, height };
    const data = { "data-start": start, "data-end": end, "data-weight": weight };
    const title = `${clock(start)} to ${clock(end)}: ${percent(weight)} of the attention, ${plural(number, "token", "tokens")}`;
    marks.push(shape("rect", { class: "evidence", ...place, ...data }, shape("title", {}, title)));
  }
  for (const [start, end, number, weight, entropy] of detail.patches) {
    const height = Math.max(4, (number / most) * 30);
    const place = { ...span(start, end, 2), y: tokens - height, height };
    const data = { "data-start": start, "data-tokens": number, "data-entropy": entropy };
    const said = entropy === null ? "" : `, of a group with entropy ${figure(entropy)} nats`;
    const kept = weight === null ? "looked at" : `${plural(number, "token", "tokens")}, ${percent(weight)} of the attention`;
    const title = `${clock(start)}: ${kept}${said}`;
    const level = `patch unsure-${unsureness(entropy, largest)}`;
    marks.push(shape("rect", { class: level, ...place, ...data }, shape("title", {}, title)));
  }
  if (moment !== null) {
    const x = Math.round(scale(moment));
    marks.push(shape("line", { class: "moment", x1: x, x2: x, y1: pins + 2, y2: axis, "data-moment": moment }));
  }
  marks.push(...framePins(detail.frames.map((one) => scale(one.start_s)), pins, right));
  if (left) {
    if (lanes[0]) marks.push(shape("text", { class: "label", x: left - 10, y: attention - 20, "text-anchor": "end" }, lanes[0]));
    marks.push(shape("text", { class: "label", x: left - 10, y: tokens - 12, "text-anchor": "end" }, lanes[1]));
  }
  marks.push(...timeAxis(scale, duration, left, right - left, axis));
  const name = `The video from 0:00:00 to ${clock(duration)}: ${plural(detail.spans.length, "evidence span", "evidence spans")}`;
  return chart(name, width, axis + 24, ...marks.filter(Boolean));
}

// Numbers of the pictures, moved apart where they would cover each other.
function framePins(places, y, right) {
  const labels = [...places];
  for (let i = 1; i < labels.length; i += 1) labels[i] = Math.max(labels[i], labels[i - 1] + 13);
  for (let i = labels.length - 1; i >= 0; i -= 1) labels[i] = Math.min(labels[i], right - 4 - 13 * (labels.length - 1 - i));
  return places.map((x, i) =>
    shape(
      "g",
      { class: "pin" },
      shape("path", { d: `M${labels[i]} ${y - 4}L${x} ${y + 2}` }),
      shape("text", { x: labels[i], y: y - 6, "text-anchor": "middle" }, i + 1),
    ),
  );
}

function isSame(response, detail) {
  const clean = (text) => String(text).toLowerCase().replace(/[^\p{L}\p{N} ]/gu, "").trim();
  return clean(response) === clean(detail.options ? detail.answer : detail.answer_text);
}

function entropyChart(detail, width) {
  const groups = detail.groups;
  const hasKept = groups.num_tokens_kept.some(Boolean);
  const [left, right, top, bottom, height] = [44, width - 8, 14, 168, hasKept ? 226 : 192];
  const visited = groups.entropy.length;
  const planned = Math.max(groups.num_planned || 0, visited, 1);
  const drawn = Math.min(planned, Math.max(24, Math.ceil(visited * 1.25))); // the rest has nothing to show
  const limit = Math.max(largestEntropy(detail), (detail.stop_entropy || 0) * 1.25, 0.1) * 1.06;
  const x = (visit) => left + ((visit - 0.5) / drawn) * (right - left);
  const y = (entropy) => bottom - (entropy / limit) * (bottom - top);
  const marks = entropyAxes(limit, y, left, right, bottom, hasKept);
  if (visited < planned) {
    const start = x(visited + 0.5);
    marks.push(
      shape("rect", { class: "unvisited", x: start, y: top, width: right - start, height: bottom - top }),
      shape("text", { class: "tick", x: Math.min(start + 8, right - 90), y: top + 12 }, `${count(planned - visited)} not visited`),
    );
  }
  if (detail.stop_entropy !== null) {
    const at = y(detail.stop_entropy);
    marks.push(shape("line", { class: "threshold", x1: left, x2: right, y1: at, y2: at }));
    marks.push(
      shape("text", { class: "tick", x: right, y: at - 4, "text-anchor": "end" }, `sure up to ${figure(detail.stop_entropy)}`),
    );
  }
  const most = Math.max(...groups.num_tokens_kept, 1);
  groups.entropy.forEach((entropy, index) => {
    const response = groups.responses[groups.response[index]];
    const kept = groups.num_tokens_kept[index];
    const title = `visit ${index + 1}, group ${groups.group_index[index]}: ${figure(entropy)} nats, answered “${response}”, ${plural(kept, "token", "tokens")} kept`;
    const data = { "data-visit": index + 1, "data-group": groups.group_index[index], "data-entropy": entropy };
    const style = `group ${isSame(response, detail) ? "same" : "other"}`;
    marks.push(
      shape("circle", { class: style, cx: x(index + 1), cy: y(entropy), r: kept ? 4 : 2.75, ...data }, shape("title", {}, title)),
    );
    if (kept) marks.push(keptBar(x(index + 1), bottom + 44, (kept / most) * 22, kept));
  });
  marks.push(...stopMark(groups, x(visited + 0.5), top, bottom, right));
  const name = `Entropy of ${plural(visited, "group", "groups")} of ${count(planned)} in visiting order`;
  return chart(name, width, height, ...marks);
}

function keptBar(x, base, height, kept) {
  const place = { x: x - 1.5, width: 3, y: base - Math.max(2, height), height: Math.max(2, height) };
  return shape("rect", { class: "kept", ...place, "data-kept": kept }, shape("title", {}, plural(kept, "token", "tokens")));
}

function entropyAxes(limit, y, left, right, bottom, hasKept) {
  const step = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4].find((one) => limit / one <= 5) || limit;
  const marks = [];
  for (let value = 0; value <= limit; value += step) {
    marks.push(shape("line", { class: value ? "grid" : "axis", x1: left, x2: right, y1: y(value), y2: y(value) }));
    marks.push(shape("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value ? value.toFixed(step < 0.1 ? 2 : 1) : "0"));
  }
  marks.push(shape("text", { class: "tick", x: left, y: bottom + 17 }, "first visited"));
  if (!hasKept) return marks;
  marks.push(shape("text", { class: "tick", x: left - 6, y: bottom + 42, "text-anchor": "end" }, "kept"));
  marks.push(shape("line", { class: "axis", x1: left, x2: right, y1: bottom + 44, y2: bottom + 44 }));
  return marks;
}

function stopMark(groups, x, top, bottom, right) {
  if (groups.stop_reason !== "confident") return [];
  const flip = x > right - 170;
  return [
    shape("line", { class: "stop", x1: x, x2: x, y1: top - 6, y2: bottom, "data-stop": groups.entropy.length }),
    shape(
      "text",
      { class: "stop-label", x: flip ? x - 6 : x + 6, y: top + 26, "text-anchor": flip ? "end" : "start" },
      `stopped: sure after ${groups.entropy.length}`,
    ),
  ];
}

// Kept tokens over a picture: the rest is dimmed, the colour follows the attention.
function tokenOverlay(frame, [rows, columns]) {
  const holes = frame.tokens.map(([row, column]) => `M${column} ${row}h1v1h-1z`).join("");
  const heaviest = Math.max(...frame.tokens.map((token) => token[2]), 1e-12);
  const cells = frame.tokens.map(([row, column, weight]) =>
    shape(
      "rect",
      {
        class: "token", x: column, y: row, width: 1, height: 1,
        "fill-opacity": 0.2 * (weight / heaviest),
        "stroke-opacity": 0.35 + 0.65 * (weight / heaviest),
        "data-row": row, "data-column": column, "data-weight": weight,
      },
      shape("title", {}, `row ${row}, column ${column}: ${percent(weight)} of the attention`),
    ),
  );
  const veil = shape("path", { class: "veil", d: `M0 0h${columns}v${rows}h-${columns}z${holes}`, "fill-rule": "evenodd" });
  const attributes = { class: "overlay", viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none", role: "img" };
  return shape("svg", { ...attributes, "aria-label": plural(frame.tokens.length, "kept token", "kept tokens") }, veil, ...cells);
}

// Rows of [name, value, text] as bars on one scale: up to `full`, or to the largest where nothing is a whole.
function bars(rows, style = "", full = null) {
  const largest = full ?? Math.max(...rows.map((row) => row[1] || 0), 1e-12);
  return node(
    "dl",
    { class: `bars ${style}` },
    rows.map(([name, value, text, mark]) => [
      node("dt", { class: mark || null }, name),
      node("dd", { class: "bar" }, shape("svg", { width: "100%", height: 10, "aria-hidden": "true" },
        shape("rect", { class: "track", width: "100%", height: 10, rx: 2 }),
        shape("rect", { class: `value ${mark || ""}`, width: `${(100 * (value || 0)) / largest}%`, height: 10, rx: 2, "data-value": value }))),
      node("dd", { class: "number" }, text),
    ]),
  );
}
