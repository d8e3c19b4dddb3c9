// The head of the page, and what its keys and buttons do.

const THEMES = ["system", "light", "dark"];

function metric(label, value, note) {
  return node("div", { class: "metric" }, node("dt", {}, label), node("dd", {}, value, note ? node("span", { class: "note" }, note) : null));
}

function drawSummary(head) {
  const totals = head.totals;
  const right = totals.num_judged ? metric("Right", percent(totals.num_right / totals.num_judged), `${count(totals.num_right)} of ${count(totals.num_judged)}`) : null;
  const scored = totals.num_groups_planned ? metric("Groups scored", percent(totals.num_groups_scored / totals.num_groups_planned), count(totals.num_groups_scored)) : null;
  const dollars = totals.usd === null ? null : metric("Cost", `$${figure(totals.usd)}`, `at $${figure(totals.usd_per_gpu_hour)} an hour`);
  const device = metric("Device (GPU) seconds", figure(totals.gpu_s), `${figure(totals.gpu_seconds_per_question)} an answer`);
  const failed = metric("Failed", count(totals.num_failed), null);
  const early = metric("Stopped early", count(totals.num_stopped_early), null);
  document.getElementById("summary").replaceChildren(
    ...head.notices.map((text) => node("p", { class: "notice bad" }, text)),
    node("dl", { class: "metrics" }, metric("Answered", count(totals.num_ok), `of ${count(totals.num_questions)}`), failed,
      metric("Videos", count(totals.num_videos), null), right, scored, early, device, dollars),
    node("div", { class: "columns three" }, stageSection(totals), methodSection(totals.methods), failureSection(totals)),
    head.runs.length ? runTable(head.runs) : "",
  );
}

function stageSection(totals) {
  const rows = STAGES.map(([name, label]) => [label, totals.stage_seconds[name], seconds(totals.stage_seconds[name])]);
  return pageSection("Seconds by stage", seconds(totals.stage_seconds.total_s), bars(rows));
}

function failureSection(totals) {
  const rows = Object.entries(totals.failures_by_class).sort((a, b) => b[1] - a[1]).map(([name, number]) => [name, number, count(number), "bad"]);
  return pageSection("Failures by class", null, rows.length ? bars(rows) : node("p", { class: "muted" }, "No question failed."));
}

function table(name, heads, rows) {
  return node("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": name }, node("table", { class: "numbers", "aria-label": name },
    node("thead", {}, node("tr", {}, heads.map((text) => node("th", { scope: "col" }, text)))),
    node("tbody", {}, rows.map((cells) => node("tr", {}, cells.map((text) => node("td", {}, text)))))));
}

function methodSection(methods) {
  const isNamed = new Set(methods.map((one) => one.method)).size === methods.length;
  const rows = methods.map((one) => [
    isNamed ? one.method : `${one.method}, ${one.model}, ${one.config_hash.slice(0, 6)}`, `${count(one.num_ok)} of ${count(one.num_questions)}`,
    one.num_judged ? percent(one.num_right / one.num_judged) : "–",
    one.num_groups_planned ? percent(one.num_groups_scored / one.num_groups_planned) : "–", figure(one.gpu_seconds_per_question),
  ]);
  const heads = ["method", "answered", "right", "groups scored", "device s each"];
  return pageSection("By method", null, table("By method", heads, rows));
}

function runTable(runs) {
  const rows = runs.map((one) => [
    one.run_id, one.method ?? "–", one.model ?? "–", one.started_at ? one.started_at.slice(0, 16).replace("T", " ") : "did not end", seconds(one.wall_s),
    count(one.num_ok), count(one.num_failed), count(one.num_skipped), one.exit_code ?? "–",
  ]);
  const heads = ["run", "method", "model", "started, UTC", "wall", "answered", "failed", "done earlier", "exit code"];
  return node("details", {}, node("summary", {}, plural(runs.length, "run", "runs")), table("Runs", heads, rows));
}

function switchTheme(button) {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  button.textContent = `Theme: ${next}`;
}

// Who follows a time with the keyboard goes on from there.
function drawKeepingFocus(target, draw) {
  const link = target.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const before = [...target.querySelectorAll("a.time")].indexOf(document.activeElement);
  const isOpen = target.querySelector("details")?.open;
  draw();
  const details = target.querySelector("details");
  if (link && details && isOpen) details.open = true;
  const again = link === null ? null : target.querySelectorAll("a.time")[before];
  if (again?.getAttribute("href") === link) again?.focus({ preventScroll: true });
  if (again) target.querySelector("video")?.scrollIntoView({ block: "nearest" });
}

function onPageKey(event, list) {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") list.box.focus();
  else if (event.key === "/" && !isTyping) document.getElementById("search").focus();
  else if ((event.key === "j" || event.key === "k") && !isTyping) list.move(event.key === "j" ? 1 : -1);
  else return;
  event.preventDefault();
}
