// The page that a server stands behind: lines come page by page, answers when they are opened.

async function fetchJson(address) {
  const response = await fetch(address);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

class ServedList extends QuestionList {
  constructor(head, onChoose) {
    ServedList.head = head;
    super([], onChoose);
    this.key = null;
    byId("page-before").addEventListener("click", () => this.turn(this.page - 1));
    byId("page-after").addEventListener("click", () => this.turn(this.page + 1));
    byId("page-number").addEventListener("change", (event) => this.turn(Number.parseInt(event.target.value.replace(/\D/g, ""), 10) - 1));
  }

  fillControls() {
    const options = (rows) => rows.map(([value, label]) => node("option", { value }, label));
    this.controls.sort.append(...options(SORTS));
    const useful = FILTERS.filter(([name]) => ServedList.head.totals.num_judged || !["right", "wrong"].includes(name));
    this.controls.filter.append(...options([...useful, ["here", "Asked here"]]));
    this.controls.method.append(...options([["", "All methods"]]));
    this.fillMethods(ServedList.head);
    for (const control of Object.values(this.controls)) control.addEventListener("input", () => this.updateSoon());
  }

  // Those that are not there yet: an answer that is given here may be the first of its method.
  fillMethods(head) {
    const select = this.controls.method;
    const known = new Set([...select.options].map((one) => one.value));
    const methods = [...new Set(head.totals.methods.map((one) => one.method))].sort();
    select.append(...methods.filter((name) => !known.has(name)).map((name) => node("option", { value: name }, name)));
    byId("method-label").hidden = select.options.length < 3;
  }

  updateSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(), 150);
  }

  update() {
    return this.turn(0);
  }

  async turn(page) {
    const last = Math.max(0, Math.ceil((this.numFound ?? 1) / (this.pageLines ?? 1)) - 1);
    const wanted = Number.isFinite(page) ? Math.max(0, page === 0 ? 0 : Math.min(page, last)) : (this.page ?? 0);
    const { search, sort, filter, method } = this.controls;
    const query = new URLSearchParams({ search: search.value, sort: sort.value, show: filter.value, method: method.value, page: wanted });
    const number = (this.asked ?? 0) + 1;
    this.asked = number;
    let found;
    try {
      found = await fetchJson(`api/answers?${query}`);
    } catch (error) {
      byId("count").textContent = `Not read: ${error.message}`;
      return;
    }
    if (number !== this.asked) return; // something else is wanted by now
    [this.entries, this.page, this.numFound, this.pageLines] = [found.entries, found.page, found.num_found, found.page_lines];
    this.order = [...this.entries.keys()];
    this.chosen = this.entries.findIndex((entry) => entry.key === this.key);
    const all = plural(found.num_all, "question", "questions");
    byId("count").textContent = found.num_found === found.num_all ? all : `${count(found.num_found)} of ${all}`;
    const pages = Math.max(1, Math.ceil(this.numFound / this.pageLines));
    byId("page-number").value = count(this.page + 1);
    byId("page-count").textContent = `of ${count(pages)}`;
    byId("page-before").disabled = this.page === 0;
    byId("page-after").disabled = this.page + 1 >= pages;
    this.rows.style.height = `${this.order.length * LINE_HEIGHT}px`;
    this.box.scrollTop = 0;
    this.reveal();
    this.draw();
  }

  total() {
    return this.numFound;
  }

  numBefore() {
    return this.page * this.pageLines;
  }

  choose(number, moment = null) {
    this.key = this.entries[number].key;
    super.choose(number, moment);
  }

  // The arrows go on over the edge of a page.
  async move(step) {
    const line = this.order.indexOf(this.chosen);
    if (step === 1 && line === this.order.length - 1 && this.numBefore() + this.order.length < this.numFound) {
      await this.turn(this.page + 1);
      this.choose(0);
    } else if (step === -1 && line === 0 && this.page > 0) {
      await this.turn(this.page - 1);
      this.choose(this.order.length - 1);
    } else super.move(step);
  }
}

// One answer, drawn at once; its pictures follow.
class ServedDetail {
  constructor(target, head, form) {
    [this.target, this.head, this.form] = [target, head, form];
    [this.shown, this.moment, this.key] = [null, null, null];
  }

  async show(key, moment) {
    this.moment = moment;
    if (this.key === key && this.shown) {
      this.draw();
      return;
    }
    [this.key, this.shown] = [key, null];
    const address = `api/answers/${encodeURIComponent(key)}`;
    let found;
    try {
      found = await fetchJson(address);
    } catch (error) {
      if (this.key === key) this.target.replaceChildren(node("p", { class: "notice bad" }, error.message));
      return;
    }
    if (this.key !== key) return;
    this.shown = found;
    this.draw();
    if (!found.detail.frames.length) return;
    const frames = await fetchJson(`${address}/frames`).catch((error) => found.detail.frames.map((one) => ({ ...one, reason: error.message })));
    if (this.key !== key) return;
    found.detail.frames = frames;
    this.draw();
  }

  draw() {
    if (!this.shown) return;
    const { entry, detail } = this.shown;
    drawKeepingFocus(this.target, () => {
      drawDetail(this.target, entry, detail, this.moment);
      if (!this.form) return;
      const more = node("button", { type: "button", class: "quiet", onclick: () => this.form.choose(entry.video) }, "Ask about this video");
      this.target.querySelector("h2").after(node("p", { class: "more" }, more));
    });
  }
}

function drawHead(head) {
  const methods = [...new Set(head.totals.methods.map((one) => `${one.method}, model ${one.model}`))];
  byId("subheading").textContent = [head.output, methods.join(", ")].filter(Boolean).join(" · ");
  if (!head.totals.num_questions) return;
  const isOpen = document.querySelector("#summary details.figures")?.open ?? false;
  drawSummary(head);
  const box = byId("summary");
  const [notices, rest] = [[...box.childNodes].filter((one) => one.classList?.contains("notice")), [...box.childNodes].filter((one) => !one.classList?.contains("notice"))];
  const figures = node("details", { class: "figures" }, node("summary", {}, "All answers in figures"), ...rest);
  figures.open = isOpen;
  box.replaceChildren(...notices, figures);
}

function startServed() {
  let head = readData("head");
  drawHead(head);
  const target = byId("detail");
  byId("ask").hidden = !head.can_ask;
  let list = null;
  const form = !head.can_ask ? null : new AskForm(head, async (entry) => {
    const isReading = byId("ask").contains(document.activeElement) && document.activeElement !== byId("ask-text");
    await list.update();
    const number = list.entries.findIndex((one) => one.key === entry.key);
    if (number >= 0) list.choose(number);
    if (isReading) target.focus();
    head = await fetchJson("api/head").catch(() => head);
    drawHead(head);
    list.fillMethods(head);
  });
  const shown = new ServedDetail(target, head, form);
  list = new ServedList(head, (number, moment) => {
    const key = list.entries[number].key;
    const address = addressOf(key, moment);
    if (location.hash !== address) history.replaceState(null, "", address);
    shown.show(key, moment);
  });
  const follow = () => {
    const wanted = readAddress(location.hash);
    if (!wanted.key) return false;
    list.key = wanted.key;
    list.chosen = list.entries.findIndex((entry) => entry.key === wanted.key);
    list.draw();
    shown.show(wanted.key, wanted.moment);
    return true;
  };
  follow();
  window.addEventListener("hashchange", follow);
  target.addEventListener("click", (event) => {
    if (event.target.closest("a.time")?.hash === location.hash) follow();
  });
  let width = target.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(target.clientWidth - width) < 8) return;
    width = target.clientWidth;
    shown.draw();
  }).observe(target);
  const theme = byId("theme");
  theme.addEventListener("click", () => switchTheme(theme));
  document.addEventListener("keydown", (event) => onPageKey(event, list));
}

startServed();
