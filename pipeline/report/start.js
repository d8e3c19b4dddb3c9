// What ties list and detail of a report together.

function start() {
  const head = readData("head");
  const target = document.getElementById("detail");
  const totals = head.totals;
  document.getElementById("subheading").textContent = [head.run_id ? `run ${head.run_id}` : null, head.output,
    totals.methods.map((one) => `${one.method}, model ${one.model}`).filter((name, index, all) => all.indexOf(name) === index).join(", ")].filter(Boolean).join(" · ");
  drawSummary(head);
  let [shown, moment] = [-1, null];
  const show = () => {
    const detail = shown < 0 ? null : readData(`detail-${shown}`);
    if (detail) drawKeepingFocus(target, () => drawDetail(target, head.entries[shown], detail, moment));
    else if (shown >= 0) target.replaceChildren(node("p", { class: "muted" }, "Still loading …"));
  };
  const list = new QuestionList(head.entries, (number, named) => {
    [shown, moment] = [number, named];
    const address = addressOf(head.entries[number].key, moment);
    if (location.hash !== address) history.replaceState(null, "", address);
    show();
  });
  const numbers = new Map(head.entries.map((entry, number) => [entry.key, number]));
  const follow = () => {
    const wanted = readAddress(location.hash);
    if (!numbers.has(wanted.key)) return false;
    list.choose(numbers.get(wanted.key), wanted.moment);
    return true;
  };
  const first = list.order.find((number) => head.entries[number].status === "ok") ?? list.order[0];
  if (!follow()) list.choose(first);
  window.addEventListener("hashchange", follow);
  // The same moment again: the address does not change, so nobody else would play it.
  target.addEventListener("click", (event) => {
    if (event.target.closest("a.time")?.hash === location.hash) follow();
  });
  document.addEventListener("DOMContentLoaded", show); // the details stand behind this script
  let width = target.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(target.clientWidth - width) < 8) return;
    width = target.clientWidth;
    show();
  }).observe(target);
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => switchTheme(theme));
  document.addEventListener("keydown", (event) => onPageKey(event, list));
}

start();
