"use strict";
// The examples table and the trace viewer. Whatever a model said goes into the page as text nodes, never as markup.
(() => {
  const PAGE = 50;
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;
  const get = (id) => document.getElementById(id);
  const root = document.documentElement;

  const theme = get("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const order = ["system", "light", "dark"];
    const next = order[(order.indexOf(root.dataset.theme || "system") + 1) % 3];
    if (next === "system") delete root.dataset.theme; else root.dataset.theme = next;
    theme.textContent = "Theme: " + next;
  });

  const open = () => {
    // Ours are of ASCII letters, digits and dashes; whatever else stands behind the # names nothing.
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();

  if (!get("viewer")) return;
  get("viewer").hidden = false;

  // Text with what would not be seen, or would turn the direction of writing, shown by its number.
  const put = (parent, text) => {
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      if (!HIDDEN.test(text[i])) continue;
      parent.append(text.slice(from, i));
      const sign = document.createElement("span");
      sign.className = "ctl";
      sign.textContent = "U+" + text.charCodeAt(i).toString(16).toUpperCase().padStart(4, "0");
      parent.append(sign);
      from = i + 1;
    }
    parent.append(text.slice(from));
    return parent;
  };
  const make = (tag, text = "", name = "") => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    return put(element, String(text));
  };
  const block = (text) => {
    const pre = make("pre", text);
    pre.tabIndex = 0;
    pre.dir = "auto";
    return pre;
  };
  const fields = (texts) => {
    const list = document.createElement("dl");
    for (const [name, text] of Object.entries(texts)) {
      const pair = document.createElement("div"), value = make("dd", text);
      value.dir = "auto";
      pair.append(make("dt", name), value);
      list.append(pair);
    }
    return list;
  };
  const fold = (summary, ...content) => {
    const details = document.createElement("details");
    details.append(make("summary", summary), ...content);
    return details;
  };

  const unpacked = new Map();
  const unpack = async (script) => {
    if (!script) return null;
    if (!unpacked.has(script)) {
      const bytes = Uint8Array.from(atob(script.textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      unpacked.set(script, JSON.parse(await new Response(stream).text()));
    }
    return unpacked.get(script);
  };
  const scripts = [...document.querySelectorAll("script.block")];
  const docsOf = (task) => [...document.querySelectorAll("script.docs")].find((each) => each.dataset.task === task);

  const state = { data: null, docs: [], rows: [], shown: [], page: 0, current: -1 };
  const percent = (score) => (score === undefined ? "–" : (100 * score).toFixed(0) + " %");
  const filter = () => document.querySelector("input[name=filter]:checked").value;
  const seed = () => state.data.seeds[get("seed").selectedIndex];

  const tests = {
    all: () => true,
    wrong: (row) => row.now < 1,
    broken: (row) => row.change < 0,
    fixed: (row) => row.change > 0,
    unparsable: (row) => row.unparsable > 0,
  };

  const load = async () => {
    const script = scripts.find((each) => each.dataset.cell === get("cell").value);
    get("status").textContent = "Unpacking…";
    unpacked.clear(); // one cell at a time: a large run does not fit into memory whole
    state.data = await unpack(script);
    state.docs = (await unpack(docsOf(script.dataset.task))) || [];
    const before = state.data.before, seeds = state.data.seeds;
    state.rows = state.data.ids.map((id, i) => {
      const scores = seeds.map((each) => each.scores[i]);
      const now = scores.reduce((a, b) => a + b, 0) / scores.length;
      const was = before[i];
      // Means of the same seeds may differ in their last digit.
      const change = was === undefined || Math.abs(now - was) < 1e-9 ? 0 : now - was;
      return { i, id, now, was, change, scores, unparsable: seeds.filter((each) => each.unparsable.includes(i)).length };
    });
    const select = get("seed");
    select.replaceChildren(...seeds.map((each) => make("option", each.seed)));
    for (const input of document.querySelectorAll("input[name=filter]")) {
      const compared = before.length || !["broken", "fixed"].includes(input.value);
      input.disabled = !compared;
      input.parentElement.querySelector(".count").textContent =
        compared ? "(" + state.rows.filter(tests[input.value]).length + ")" : "(no baseline)";
      if (input.checked && input.disabled) document.querySelector("input[value=all]").checked = true;
    }
    apply();
  };

  const textOf = (row) => JSON.stringify([row.id, seed().said[row.i], state.docs[row.i] || {}]).toLowerCase();
  const apply = () => {
    const wanted = JSON.stringify(get("find").value.toLowerCase()).slice(1, -1);
    state.shown = state.rows.filter(tests[filter()]).filter((row) => !wanted || textOf(row).includes(wanted));
    state.page = 0;
    state.current = -1;
    get("trace").replaceChildren();
    draw();
  };

  const joined = (fields) => Object.entries(fields || {}).map(([name, text]) => name + ": " + text).join("\n");
  const draw = () => {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    const body = get("list").tBodies[0];
    body.replaceChildren(...state.shown.slice(state.page * PAGE, (state.page + 1) * PAGE).map((row) => {
      const tr = document.createElement("tr");
      const button = make("button", row.id.slice(0, 60));
      button.type = "button";
      button.dir = "auto";
      button.addEventListener("click", () => show(row, tr));
      const cells = [button, percent(row.was), percent(row.now), "", "", ""].map((content, column) => {
        const td = column === 1 || column === 2 ? make("td", content, "num") : document.createElement("td");
        if (column === 0) td.append(content);
        return td;
      });
      const change = row.change < 0 ? "broken" : row.change > 0 ? "fixed" : "";
      cells[3].append(make("span", change, change));
      if (row.unparsable) cells[3].append(make("span", (change ? ", " : "") + "unparsable"));
      for (const [column, text] of [[4, joined(seed().said[row.i])], [5, joined(state.docs[row.i])]]) {
        const div = make("div", text.slice(0, 300));
        div.dir = "auto";
        cells[column].append(div);
      }
      cells[2].title = "by seed: " + row.scores.map(percent).join(", ");
      tr.append(...cells);
      return tr;
    }));
    get("status").textContent = state.shown.length + " of " + state.rows.length + " examples; output of seed " + seed().seed;
    get("page").textContent = "page " + (state.page + 1) + " of " + pages;
    get("previous").disabled = state.page === 0;
    get("next").disabled = state.page >= pages - 1;
  };

  const show = (row, tr) => {
    for (const each of get("list").tBodies[0].rows) each.removeAttribute("aria-current");
    tr.setAttribute("aria-current", "true");
    state.current = tr.sectionRowIndex;
    const parts = [make("h3", "Example " + row.id + ", seed " + seed().seed + ": " + percent(seed().scores[row.i]))];
    parts.push(fields(state.docs[row.i] || {}));
    const extra = Object.entries(seed().extra[row.i] || {}).map(([name, value]) => name + " " + percent(value));
    if (extra.length) parts.push(make("p", extra.join(", ")));
    const trace = seed().traces[row.i];
    if (!trace) {
      parts.push(make("p", "Its trace was not kept: traces are kept for the lowest scores first, up to half a million characters per seed. What it said:"));
      parts.push(block(joined(seed().said[row.i])));
    }
    (trace || []).forEach((call, index) => {
      const section = make("section", "", "call");
      const tokens = call.prompt_tokens + " tokens in, " + call.completion_tokens + " out" + (call.truncated ? ", cut off at the limit" : "");
      section.append(make("h4", index + 1 + ". " + call.predictor), make("small", tokens));
      const turns = seed().prompts[call.predictor] || [];
      const before = turns.flatMap(([role, text]) => [make("b", role), block(text)]);
      section.append(fold("Prompt: " + (turns.length + 1) + " turns", ...before, make("b", "user"), block(call.asked)));
      for (const [name, texts] of Object.entries(call.passages)) {
        section.append(fold(name + ": " + texts.length + " passages", ...texts.map(block)));
      }
      section.append(make("b", "Completion"), block(call.completion));
      if (call.fields === null) {
        section.append(make("p", "Could not be parsed.", "broken"));
      } else {
        section.append(make("b", "Parsed fields"), fields(call.fields));
      }
      parts.push(section);
    });
    get("trace").replaceChildren(...parts);
    get("trace").focus();
  };

  const turn = (by) => { state.page += by; draw(); };
  const buttons = () => [...get("list").tBodies[0].querySelectorAll("button")];
  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  get("cell").addEventListener("change", load);
  get("seed").addEventListener("change", apply);
  get("filters").addEventListener("change", apply);
  get("find").addEventListener("input", apply);
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("a.show")) {
    link.addEventListener("click", () => { get("cell").value = link.dataset.cell; load(); });
  }
  addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "radio";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { const row = buttons()[Math.max(0, state.current)]; if (row) row.focus(); return; }
    if (typing || !state.data) return;
    const step = { j: 1, k: -1 }[event.key];
    if (step) {
      const all = buttons(), at = all.indexOf(document.activeElement);
      const next = all[Math.min(all.length - 1, Math.max(0, (at < 0 ? state.current : at) + step))];
      if (next) next.focus();
    } else if (event.key === "/") { event.preventDefault(); get("find").focus();
    } else if (event.key === "n" && !get("next").disabled) { turn(1);
    } else if (event.key === "p" && !get("previous").disabled) { turn(-1); }
  });
  load();
})();
