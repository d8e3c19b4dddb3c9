// The form, and an answer while it is being found: server-sent events, read from the reply to the question itself, so
// that closing the page is what withdraws the question.

const BINS = 400; // of time, in which groups are drawn
const byId = (id) => document.getElementById(id);

async function readEvents(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").filter((line) => !line.startsWith(":")).map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.event) take(fields.event, JSON.parse(fields.data));
    }
  }
}

// What the drawings of the report need of an answer, as far as it is known.
class LiveAnswer {
  constructor(plan) {
    this.bins = new Map();
    this.surest = Infinity;
    this.plan = plan;
    this.detail = {
      duration_s: plan.duration_s, spans: [], patches: [], frames: [], options: null, answer_text: "", stop_entropy: plan.stop_entropy,
      groups: { entropy: [], group_index: [], response: [], responses: [], num_tokens_kept: [], num_planned: plan.num_groups, stop_reason: null },
    };
  }

  add(scored) {
    const groups = this.detail.groups;
    groups.entropy.push(scored.entropy);
    groups.group_index.push(scored.group_index);
    groups.num_tokens_kept.push(0);
    if (!groups.responses.includes(scored.response)) groups.responses.push(scored.response);
    groups.response.push(groups.responses.indexOf(scored.response));
    if (scored.entropy !== null && scored.entropy < this.surest) {
      this.surest = scored.entropy;
      this.detail.answer_text = scored.response;
    }
    const width = this.plan.duration_s / BINS;
    for (const start of scored.starts_s) {
      const bin = Math.min(BINS - 1, Math.floor(start / width));
      const before = this.bins.get(bin) ?? [bin * width, (bin + 1) * width, 0, null, null];
      const entropy = before[4] === null ? scored.entropy : Math.min(before[4], scored.entropy ?? Infinity);
      this.bins.set(bin, [before[0], before[1], 1, null, entropy]);
    }
  }

  draw(target) {
    this.detail.patches = [...this.bins.values()].sort((a, b) => a[0] - b[0]);
    const width = Math.max(280, target.clientWidth - 42);
    const same = this.detail.groups.response.filter((number) => isSame(this.detail.groups.responses[number], this.detail)).length;
    target.replaceChildren(
      pageSection("Groups on the timeline", "each group of frames spans the whole video", timeline(this.detail, width, null, ["", "Looked at"]), legend([ramp(), "from sure to unsure groups"])),
      pageSection("Entropy of each group's answer", "nats", entropyChart(this.detail, width),
        legend([dot("group same"), `${count(same)} say what the surest says`], [dot("group other"), `${count(this.detail.groups.response.length - same)} say something else`])),
    );
  }
}

class AskForm {
  constructor(head, onAnswer) {
    this.onAnswer = onAnswer;
    this.abort = null;
    byId("ask-model").textContent = `answered by ${head.model}`;
    byId("ask-method").append(...head.methods.map((name) => node("option", { value: name }, name)));
    byId("ask-video").append(...head.videos.map((uri) => this.option(uri)));
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    byId("ask-show").addEventListener("click", () => {
      byId("detail").focus();
      byId("detail").scrollIntoView();
    });
    byId("ask-stop").addEventListener("click", () => this.abort?.abort());
    byId("ask-text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      byId("ask-form").requestSubmit();
    });
  }

  option(uri) {
    return node("option", { value: uri, title: uri }, pathEnd(uri));
  }

  choose(uri) {
    const select = byId("ask-video");
    if (![...select.options].some((one) => one.value === uri)) select.append(this.option(uri));
    select.value = uri;
    byId("ask-text").focus();
  }

  say(text) {
    byId("ask-status").textContent = text;
  }

  complain(text) {
    byId("ask-problem").hidden = !text;
    byId("ask-problem").textContent = text;
  }

  async ask() {
    if (this.abort) return;
    this.abort = new AbortController();
    const options = byId("ask-options").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const question = { video: byId("ask-video").value, method: byId("ask-method").value, question: byId("ask-text").value, options: options.length ? options : null };
    byId("ask-submit").disabled = true;
    byId("ask-stop").disabled = false;
    byId("ask-show").hidden = true;
    this.complain("");
    this.say("Asked.");
    try {
      await this.follow(question);
    } catch (error) {
      if (error.name === "AbortError") this.say("Stopped: the question was withdrawn.");
      else {
        this.say("");
        this.complain(`No answer: the server is not to be reached (${error.message}).`);
      }
    } finally {
      byId("ask-live").replaceChildren();
      if (document.activeElement === byId("ask-stop")) byId("ask-submit").focus();
      this.abort = null;
      byId("ask-submit").disabled = false;
      byId("ask-stop").disabled = true;
    }
  }

  async follow(question) {
    const response = await fetch("api/ask", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question), signal: this.abort.signal,
    });
    if (!response.ok) {
      this.say("");
      this.complain((await response.json()).error);
      return;
    }
    let live = null;
    let isDrawn = true;
    const draw = () => {
      isDrawn = true;
      if (live && this.abort) live.draw(byId("ask-live"));
    };
    let isOver = false;
    await readEvents(response, (name, said) => {
      if (name === "queued") this.say(said.num_before ? `Waiting: ${plural(said.num_before, "question stands", "questions stand")} before it.` : "Looking at the video.");
      else if (name === "began") this.say("Looking at the video.");
      else if (name === "planned") {
        live = new LiveAnswer(said);
        const kept = said.num_kept ? `; ${count(said.num_kept)} are in reach from an earlier question` : "";
        this.say(`${clock(said.duration_s)} long, ${plural(said.num_frames, "frame", "frames")} in ${plural(said.num_groups, "group", "groups")}${kept}.`);
      } else if (name === "reading" && said.num_stretches > 1) byId("ask-live").replaceChildren(node("p", { class: "muted" }, `Reading the video: ${percent(said.num_read / said.num_stretches)}`)); // seen, not read out
      else if (name === "scored") {
        live.add(said);
        if (isDrawn) {
          isDrawn = false;
          requestAnimationFrame(draw);
        }
      } else if (name === "answering") this.say(said.has_stopped ? `Sure after ${count(live.detail.groups.entropy.length)} of ${count(live.plan.num_groups)} groups; the answer is being put together.` : "All groups are scored; the answer is being put together.");
      else if (name === "answered") {
        isOver = true;
        const stopped = said.entry.stop_reason === "confident" ? `, stopped early after ${count(said.entry.num_scored)} of ${count(said.entry.num_groups)} groups` : "";
        this.say(`${said.entry.answer} (${said.entry.method}, ${said.model}; ${seconds(said.entry.total_s)}${stopped})`);
        byId("ask-show").hidden = false;
        this.onAnswer(said.entry);
      } else if (name === "failed") {
        isOver = true;
        this.say("");
        this.complain(`No answer: ${said.error}`);
      }
    });
    if (!isOver) throw new Error("the connection ended");
  }
}
