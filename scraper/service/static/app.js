"use strict";
// Everything here can be read without it: it starts and stops runs, shows one live, and adds rows while scrolling.
const MOST_ROWS = 3000, MOST_LINES = 200, WINDOW = 10;

function tell(text) {
  const box = document.getElementById("alert");
  box.textContent = text;
  box.hidden = !text;
}

async function send(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error([found.detail, found.hint].filter(Boolean).join(": "));
  return found;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-start], button[data-stop], button[data-accept]");
  if (!button) return;
  const { start, stop, accept } = button.dataset;
  button.disabled = true;
  tell("");
  try {
    if (start) {
      const begun = await send("POST", "/runs", { spider: start });
      location.assign(`/ui/runs/${encodeURIComponent(begun.run_id)}`);
    } else if (stop) {
      await send("DELETE", `/runs/${encodeURIComponent(stop)}`);
    } else {
      await send("POST", `/runs/${encodeURIComponent(accept)}/accept`);
      location.reload();
    }
  } catch (error) {
    tell(error.message);
    button.disabled = false;
  }
});

function cell(kind, text, label, isNumber) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (label) made.dataset.label = label;
  if (kind === "th") made.scope = "row";
  if (isNumber) made.className = "num";
  return made;
}

function live(root) {
  const path = `/runs/${encodeURIComponent(root.dataset.live)}/events`;
  const source = new EventSource(path);
  const marks = [];
  let told = 0;

  source.addEventListener("progress", (event) => {
    const found = JSON.parse(event.data);
    const now = performance.now() / 1000, pages = found.pages + found.unchanged;
    marks.push([now, pages]);
    while (marks.length > 2 && now - marks[0][0] > WINDOW) marks.shift();
    const passed = now - marks[0][0];
    const speed = passed > 0.5 ? (pages - marks[0][1]) / passed : 0;
    for (const place of root.querySelectorAll("[data-is]")) {
      const name = place.dataset.is;
      if (name === "speed") place.textContent = speed.toFixed(1);
      else if (name === "min_gap_s") place.textContent = found.min_gap_s === null ? "—" : `${found.min_gap_s.toPrecision(3)} s`;
      else place.textContent = (name === "pages" ? pages : found[name]).toLocaleString("en");
    }
    root.querySelector("[data-domains]").replaceChildren(...found.by_domain.map((one) => {
      const row = document.createElement("tr");
      row.append(
        cell("th", one.domain), cell("td", one.pages.toLocaleString("en"), "Pages", true),
        cell("td", one.failed.toLocaleString("en"), "Failed", true), cell("td", `${one.wait_s} s`, "Waits", true),
        cell("td", one.reason, "Because of"));
      return row;
    }));
    const kinds = Object.entries(found.failures);
    root.querySelector("[data-failures]").replaceChildren(...(kinds.length ? kinds : [["None.", 0]]).map(([kind, number]) => {
      const item = document.createElement("li");
      if (number) item.append(cell("span", number.toLocaleString("en"), "", true), ` ${kind}`);
      else item.append(kind);
      return item;
    }));
    // A screen reader hears of it every half minute, not every second.
    if (now - told > 30) {
      told = now;
      root.querySelector("[data-status]").textContent = `${pages} pages, ${found.records} records, ${found.failed} failed, ${found.pending} pending`;
    }
  });

  source.addEventListener("log", (event) => {
    const found = JSON.parse(event.data), list = root.querySelector("[data-log]");
    const isAtEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 30;
    const item = document.createElement("li");
    item.className = `e-${found.event}`;
    const kind = document.createElement("b");
    kind.textContent = found.event;
    const rest = [found.domain || found.url || found.origin, found.seconds ? `${found.seconds} s` : "", found.reason || found.text || found.source];
    item.append(kind, ` ${rest.filter(Boolean).join(": ")}`);
    list.append(item);
    while (list.children.length > MOST_LINES) list.firstChild.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  });

  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
}

function scrolling(body) {
  let link = document.querySelector("[data-next]");
  if (!link) return;
  let isBusy = false;
  const watcher = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting || isBusy || body.rows.length >= MOST_ROWS) return;
    isBusy = true;
    const answer = await fetch(link.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const names = [...document.querySelectorAll(".grid thead th a")].map((one) => one.firstChild.textContent);
    const theirs = [...page.querySelectorAll(".grid thead th a")].map((one) => one.firstChild.textContent);
    for (const row of page.querySelectorAll("[data-rows] tr")) {
      const made = document.createElement("tr");
      for (const name of names) {
        const found = theirs.indexOf(name) < 0 ? null : row.cells[theirs.indexOf(name)];
        const one = made.insertCell();
        if (found) { one.textContent = found.textContent; one.className = found.className; }
      }
      body.append(made);
    }
    const next = page.querySelector("[data-next]");
    watcher.disconnect();
    if (next) { link.href = next.href; isBusy = false; watcher.observe(link); } else link.remove();
  }, { rootMargin: "600px" });
  watcher.observe(link);
}

const root = document.querySelector("[data-live]");
if (root) live(root);
const rows = document.querySelector("[data-rows]");
if (rows) scrolling(rows);
