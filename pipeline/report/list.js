// The list of questions: search, filter, sort; only the lines in sight are elements.

const LINE_HEIGHT = 64;
const SORTS = [
  ["video", "By video", () => 0],
  ["unsure", "Least sure first", (a, b) => (b.entropy ?? -1) - (a.entropy ?? -1)],
  ["cost", "Most seconds first", (a, b) => b.total_s - a.total_s],
  ["groups", "Most groups first", (a, b) => b.num_scored - a.num_scored],
  ["question", "Question, A to Z", (a, b) => a.question.localeCompare(b.question)],
];
const FILTERS = [
  ["all", "All", () => true],
  ["ok", "Answered", (one) => one.status === "ok"],
  ["failed", "Failed", (one) => one.status !== "ok"],
  ["right", "Right", (one) => one.is_right === true],
  ["wrong", "Wrong", (one) => one.is_right === false],
  ["early", "Stopped early", (one) => one.stop_reason === "confident"],
];

function searchable(entry) {
  return [entry.question, entry.answer, entry.video, entry.id, entry.error_class].join("\n").toLowerCase();
}

class QuestionList {
  constructor(entries, onChoose) {
    this.entries = entries;
    this.onChoose = onChoose;
    this.texts = null;
    this.order = [];
    this.chosen = -1; // a number of the entries, not of the lines
    this.box = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.controls = Object.fromEntries(["search", "sort", "filter", "method"].map((id) => [id, document.getElementById(id)]));
    this.fillControls();
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => {
      this.reveal();
      this.draw();
    }).observe(this.box);
    this.update();
  }

  fillControls() {
    const options = (rows) => rows.map(([value, label]) => node("option", { value }, label));
    const useful = FILTERS.filter(([, , test]) => this.entries.some(test));
    this.controls.sort.append(...options(SORTS));
    this.controls.filter.append(...options(useful));
    const methods = [...new Set(this.entries.map((one) => one.method))].sort();
    this.controls.method.append(...options([["", "All methods"], ...methods.map((name) => [name, name])]));
    document.getElementById("method-label").hidden = methods.length < 2;
    for (const control of Object.values(this.controls)) control.addEventListener("input", () => this.update());
  }

  update() {
    const { search, sort, filter, method } = this.controls;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !this.texts) this.texts = this.entries.map(searchable);
    const passes = FILTERS.find(([name]) => name === filter.value)[2];
    const compare = SORTS.find(([name]) => name === sort.value)[2];
    this.order = [...this.entries.keys()]
      .filter((number) => passes(this.entries[number]))
      .filter((number) => !method.value || this.entries[number].method === method.value)
      .filter((number) => words.every((word) => this.texts[number].includes(word)))
      .sort((a, b) => compare(this.entries[a], this.entries[b]) || a - b);
    const all = this.entries.length;
    document.getElementById("count").textContent =
      this.order.length === all ? plural(all, "question", "questions") : `${count(this.order.length)} of ${plural(all, "question", "questions")}`;
    this.rows.style.height = `${this.order.length * LINE_HEIGHT}px`;
    this.box.scrollTop = 0;
    this.reveal();
    this.draw();
  }

  // The chosen question stays in sight, whatever is sorted, filtered or made narrower.
  reveal() {
    const line = this.order.indexOf(this.chosen);
    if (line < 0) return;
    const top = line * LINE_HEIGHT;
    const bottom = top + LINE_HEIGHT - this.box.clientHeight;
    if (this.box.scrollTop > top) this.box.scrollTop = top;
    if (this.box.scrollTop < bottom) this.box.scrollTop = bottom;
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / LINE_HEIGHT) - 4);
    const last = Math.min(this.order.length, first + Math.ceil(this.box.clientHeight / LINE_HEIGHT) + 9);
    const lines = [];
    for (let line = first; line < last; line += 1) lines.push(this.drawLine(line));
    this.rows.replaceChildren(...lines);
    const active = this.order.indexOf(this.chosen);
    if (active >= first && active < last) this.box.setAttribute("aria-activedescendant", `line-${this.chosen}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  drawLine(line) {
    const number = this.order[line];
    const entry = this.entries[number];
    const sure = entry.status !== "ok" ? entry.error_class : entry.probability === null ? `${figure(entry.entropy)} nats` : percent(entry.probability);
    const mark = entry.status !== "ok" ? "!" : entry.is_right === null ? "" : entry.is_right ? "✓" : "✗";
    const style = entry.status !== "ok" || entry.is_right === false ? "bad" : "good";
    const element = node(
      "div",
      {
        id: `line-${number}`, class: "line", role: "option", "aria-selected": String(number === this.chosen),
        "aria-setsize": this.total(), "aria-posinset": this.numBefore() + line + 1, onclick: () => this.choose(number),
      },
      node("span", { class: `mark ${style}` }, mark),
      node("span", { class: "question" }, entry.question),
      node("span", { class: "said" }, entry.answer ?? "no answer"),
      node("span", { class: "where" }, lastPart(entry.video), entry.stop_reason === "confident" ? " · early" : ""),
      node("span", { class: "number" }, sure),
    );
    element.style.transform = `translateY(${line * LINE_HEIGHT}px)`;
    return element;
  }

  // Lines of the whole, of which ``order`` may be a part, and how many of them stand before it.
  total() {
    return this.order.length;
  }

  numBefore() {
    return 0;
  }

  choose(number, moment = null) {
    this.chosen = number;
    this.reveal();
    this.draw();
    this.onChoose(number, moment);
  }

  move(step) {
    if (!this.order.length) return;
    const line = this.order.indexOf(this.chosen);
    this.choose(this.order[Math.min(this.order.length - 1, Math.max(0, line < 0 ? 0 : line + step))]);
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / LINE_HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.order.length, End: this.order.length };
    if (event.key === "Enter") document.getElementById("detail").focus();
    else if (event.key in steps) this.move(steps[event.key]);
    else return;
    event.preventDefault();
  }
}
