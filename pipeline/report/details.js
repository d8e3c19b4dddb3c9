// One question in full.

const STAGES = [
  ["decode_s", "decode"], ["scorer_wait_s", "wait for frames"], ["encode_s", "encode"],
  ["prefill_s", "prefill"], ["score_s", "score"], ["answer_s", "answer"],
];
const TOP_SPANS = 3;

function section(title, note, ...content) {
  return titled("h3", title, note, content);
}

// The parts of the page itself stand above those of a question.
function pageSection(title, note, ...content) {
  return titled("h2", title, note, content);
}

function titled(heading, title, note, content) {
  return node("section", {}, node(heading, { class: "part" }, title, note ? node("span", { class: "note" }, note) : null), content);
}

function chip(text, style) {
  return node("span", { class: `chip ${style || ""}` }, text);
}

function verdict(entry) {
  if (entry.is_right === null) return entry.expected === null ? null : chip(`expected ${entry.expected}`);
  return entry.is_right ? chip(`✓ right, expected ${entry.expected}`, "good") : chip(`✗ wrong, expected ${entry.expected}`, "bad");
}

function factOf(detail, name) {
  return detail.facts.find(([one]) => one === name)?.[1];
}

function answerBlock(entry, detail) {
  if (entry.status !== "ok") {
    return node("div", { class: "notice bad" }, node("strong", {}, `Failed: ${entry.error_class}`), node("p", {}, detail.error_message));
  }
  const stopped = entry.stop_reason === "confident";
  const groups = detail.groups.entropy.length;
  return [
    node("p", { class: "answer" }, entry.answer),
    node(
      "p", { class: "chips" },
      detail.probabilities ? chip(`${percent(entry.probability)} probable`) : null,
      chip(`entropy ${figure(entry.entropy)} nats`),
      verdict(entry),
      chip(`${entry.method}, model ${factOf(detail, "model") ?? "unknown"}`),
      groups ? chip(stopped ? `stopped early: ${groups} of ${count(entry.num_groups)} groups` : `all ${count(groups)} groups`) : null,
    ),
    detail.options && detail.answer_text !== detail.answer ? node("p", { class: "muted" }, `The model wrote: ${detail.answer_text}`) : null,
  ];
}

function optionBars(detail) {
  if (!detail.options || !detail.probabilities) return null;
  const rows = detail.options.map((option, index) => {
    const letter = String.fromCharCode(65 + index);
    const chosen = letter === detail.answer;
    const name = [node("span", { class: "letter" }, letter), " ", option];
    return [name, detail.probabilities[index], percent(detail.probabilities[index]), chosen ? "chosen" : ""];
  });
  return section("Options", "probability at the first answer token", bars(rows, "options", 1));
}

function legend(...items) {
  return node("p", { class: "legend" }, items.map(([style, text]) => [
    shape("svg", { width: 14 * style.length, height: 12, "aria-hidden": "true" }, ...style), ` ${text}`,
  ]).map((item) => node("span", {}, item)));
}

const swatch = (style) => [shape("rect", { class: style, x: 1, y: 1, width: 12, height: 10, rx: 2 })];
const ramp = () => [0, 1, 2, 3, 4, 5].map((level) => shape("rect", { class: `unsure-${level}`, x: 14 * level, y: 1, width: 13, height: 10 }));
const dot = (style) => [shape("circle", { class: style, cx: 7, cy: 6, r: 4 })];

function timelineSection(entry, detail, width, moment) {
  if (!detail.spans.length) return null;
  const more = detail.num_more_spans ? ` The ${count(detail.num_more_spans)} lightest spans are not drawn.` : "";
  return section(
    "Where in the video", `${clock(detail.duration_s || 0)} long`,
    timeline(detail, width, moment),
    topSpans(entry, detail),
    legend(
      [swatch("evidence"), "share of the answer's attention"],
      ...(detail.patches.length && detail.groups.entropy.length ? [[ramp(), "kept tokens, from sure to unsure groups"]] : []),
    ),
    more ? node("p", { class: "muted" }, more) : null,
    spanTable(entry, detail),
  );
}

// Goes to a moment: the address says which, so that it can be sent to somebody.
function momentLink(entry, moment, text) {
  return node("a", { class: "time", href: addressOf(entry.key, moment) }, text);
}

function topSpans(entry, detail) {
  const items = detail.spans.slice(0, TOP_SPANS).map(([start, end, weight]) =>
    node("li", {}, momentLink(entry, start, `${clock(start)} to ${clock(end)}`), node("span", { class: "note" }, ` ${percent(weight)}`)));
  return node("ul", { class: "spans", "aria-label": "Evidence, the heaviest first" }, items);
}

function spanTable(entry, detail) {
  const rows = detail.spans.map(([start, end, weight, number]) =>
    node("tr", {}, [momentLink(entry, start, clock(start)), clock(end), percent(weight), count(number)].map((cell) => node("td", {}, cell))));
  const head = ["from", "to", "attention", "tokens"].map((text) => node("th", { scope: "col" }, text));
  return node("details", {}, node("summary", {}, `${plural(detail.spans.length, "span", "spans")} as a table`),
    node("table", { class: "numbers" }, node("thead", {}, node("tr", {}, head)), node("tbody", {}, rows)));
}

function framesSection(entry, detail) {
  if (!detail.frames.length) return null;
  const hasTokens = detail.frames.some((one) => one.tokens.length);
  const grid = node("div", { class: "frames" }, detail.frames.map((one, index) => framePicture(entry, one, index + 1, detail.grid)));
  const toggle = node("input", { type: "checkbox", checked: true, onchange: (event) => grid.classList.toggle("plain", !event.target.checked) });
  return section("Evidence frames", null, hasTokens ? node("label", { class: "toggle" }, toggle, " show the kept tokens") : null, grid);
}

function framePicture(entry, frame, number, grid) {
  const picture = frame.image
    ? node("img", { src: frame.image, alt: `Frame at ${clock(frame.start_s)}`, "data-start": frame.start_s })
    : node("div", { class: "missing" });
  const overlay = frame.tokens.length && grid[0] && grid[1] ? tokenOverlay(frame, grid) : null;
  return node(
    "figure", { "data-start": frame.start_s, "data-weight": frame.weight },
    node("div", { class: "picture" }, picture, overlay),
    node("figcaption", {}, node("strong", {}, `${number}  `, momentLink(entry, frame.start_s, clock(frame.start_s))), node("span", { class: "number" }, percent(frame.weight))),
    frame.image ? null : node("p", { class: "reason" }, frame.reason || "it was not read"),
  );
}

function groupsSection(detail, width) {
  const groups = detail.groups;
  if (!groups.entropy.length) return null;
  const same = groups.response.filter((number) => isSame(groups.responses[number], detail)).length;
  return section(
    "Groups in the order of their visit", "entropy of each group's answer, nats",
    entropyChart(detail, width),
    legend([dot("group same"), `${count(same)} said what the answer says`], [dot("group other"), `${count(groups.response.length - same)} said something else`],
      [swatch("kept"), "tokens kept of the group"]),
  );
}

function costSections(detail) {
  const total = detail.stages.total_s;
  const stages = STAGES.map(([name, label]) => [label, detail.stages[name], seconds(detail.stages[name])]);
  const bought = detail.groups.entropy.length ? [["bought", count(detail.groups.num_tokens_bought)]] : [];
  const tokens = [["offered", count(detail.num_tokens_offered)], ...bought, ["kept", count(detail.num_tokens_kept)]];
  return node(
    "div", { class: "columns" },
    section("Seconds", `${seconds(total)}, on the device ${seconds(detail.gpu_s)}`, bars(stages)),
    section("Tokens", null, node("dl", { class: "facts" }, tokens.map(([name, value]) => [node("dt", {}, name), node("dd", { class: "number" }, value)]))),
  );
}

function factList(rows) {
  const known = rows.filter(([, value]) => value !== null);
  return node("dl", { class: "facts" }, known.map(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

function drawDetail(target, entry, detail, moment = null) {
  const width = Math.max(280, target.clientWidth - 2);
  target.replaceChildren(
    node("p", { class: "crumbs" }, node("span", { title: entry.video }, pathEnd(entry.video)), node("span", {}, entry.id)),
    node("h2", {}, entry.question),
    fill(node("div"), {}, [answerBlock(entry, detail)]),
    detail.warnings.length ? node("ul", { class: "notice" }, detail.warnings.map((text) => node("li", {}, text))) : "",
    ...[
      optionBars(detail), timelineSection(entry, detail, width, moment), playerSection(detail, moment),
      framesSection(entry, detail), groupsSection(detail, width),
      detail.stages.total_s > 0 ? costSections(detail) : null,
      detail.manifest.length ? section("From the manifest", null, factList(detail.manifest)) : null,
      section("About this row", null, factList(detail.facts)),
    ].filter(Boolean),
  );
}
