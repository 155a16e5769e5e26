// The page: what the reader can press, and what each press changes in the view. Everything that comes from the run is
// set as text, never as markup.

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const byId = id => document.getElementById(id);

function start() {
  const data = readData(JSON.parse(byId("data").textContent));
  byId("picture").hidden = false;
  readColours();
  const drawn = {};
  const view = makeView(data, view => {
    drawn.diagram = drawDiagram(byId("diagram"), data, view);
    drawn.flight = drawFlight(byId("flight"), data, view);
    drawn.latency = drawLatency(byId("latency"), data, view);
    drawn.overview = drawOverview(byId("overview"), data, view);
  });
  const page = {data, view, drawn, say: text => { byId("says").textContent = text; }};
  zoomBar(page);
  filters(page);
  legend(page);
  following(page);
  pointing(page);
  plotsPointing(page);
  keys(page);
  story(page);
  theme(page);
  describe(page);
  new ResizeObserver(() => view.changed()).observe(byId("picture"));
  view.changed();
  // For those who script the page, and for its tests.
  window.palmReport = {view, data, follow: page.follow, nearest: (x, y) => nearest(data, view, drawn.diagram, x, y)};
}

function zoomBar({data, view}) {
  const span = make("span", {className: "span"});
  const buttons = [
    ["Whole run", () => view.show(0, data.end)],
    ["Zoom in", () => view.zoom(0.5)],
    ["Zoom out", () => view.zoom(2)],
    ["◀ Earlier", () => view.pan(-0.4)],
    ["Later ▶", () => view.pan(0.4)],
  ];
  byId("zoom-bar").append(...buttons.map(([text, press]) => make("button", {type: "button", textContent: text, onclick: press})), span);
  view.onDrawn = stats => {
    span.textContent = `${seconds(view.from, 6)} to ${seconds(view.to, 6)} (${duration(Math.round(view.to - view.from))})`;
    const cut = data.raw.left_out ? ` ${many(data.raw.left_out, "frame")} beyond the limit of this report were left out.` : "";
    byId("drawn").textContent =
      `${many(data.frames.count, "frame")} and ${many(data.events.count, "event")}; ${many(stats.drawn, "arrow")} drawn, ` +
      `the last drawing took ${stats.last_ms.toFixed(1)} ms.${cut}`;
    byId("diagram").setAttribute("aria-label",
      `Space-time diagram from ${seconds(view.from, 3)} to ${seconds(view.to, 3)}: ${data.raw.lanes.length} processes, ${stats.drawn} arrows.` +
      (view.followed ? ` Message ${view.followed.sequence} is highlighted.` : ""));
  };
}

function filters({data, view}) {
  const groups = byId("filter-groups");
  const {raw} = data;
  const servers = new Map();
  raw.lanes.forEach((lane, i) => servers.set(lane.server, [...(servers.get(lane.server) || []), i]));
  const boxes = (title, names, isOn, set) => {
    const inputs = names.map((name, i) => make("input", {type: "checkbox", checked: isOn(i), onchange: event => { set(i, event.target.checked); view.filtered(); }}));
    const all = on => () => { inputs.forEach((input, i) => { input.checked = on; set(i, on); }); view.filtered(); };
    groups.append(make("fieldset", {},
      make("legend", {textContent: title}),
      make("button", {type: "button", textContent: "all", onclick: all(true)}), " ",
      make("button", {type: "button", textContent: "none", onclick: all(false)}),
      ...inputs.map((input, i) => make("label", {}, input, ` ${names[i]}`))));
  };
  const names = [...servers.keys()];
  boxes("Servers", names, i => servers.get(names[i]).some(lane => view.lanes[lane]),
    (i, on) => servers.get(names[i]).forEach(lane => { view.lanes[lane] = on; }));
  boxes("Frames", raw.kinds.frames, i => view.frameKinds[i], (i, on) => { view.frameKinds[i] = on; });
  boxes("Events", raw.kinds.events, i => view.eventKinds[i], (i, on) => { view.eventKinds[i] = on; });
  const job = make("select", {onchange: event => { view.job = +event.target.value; view.filtered(); }},
    make("option", {value: -1, textContent: "all jobs"}),
    ...raw.jobs.map((job, i) => make("option", {value: i, textContent: job.name})));
  groups.append(make("fieldset", {}, make("legend", {textContent: "Job"}), make("label", {}, "Messages of ", job)));
}

function legend({data}) {
  const entry = (name, text, shape = "") => make("li", {}, make("i", {className: shape, style: `color: var(--${name})`}), text);
  const kinds = data.raw.kinds.frames.map((kind, i) => entry(data.raw.kinds.colours[i], kind));
  byId("legend").append(...kinds, entry("lost", "lost ×"), entry("held", "held, or sent again"), entry("fault", "fault"),
    entry("event", "event of a message", "mark-shape"), entry("bad", "crash, lost lease, failure", "mark-shape"), entry("accent", "followed"));
}

const LISTED = 400; // steps of one message that are listed

function following(page) {
  const {data, view, say} = page;
  const box = byId("followed"), error = byId("follow-error");
  const jobs = byId("follow-job");
  jobs.append(...data.raw.jobs.map((job, i) => make("option", {value: i, textContent: job.name})));
  byId("follow-job-label").hidden = data.raw.jobs.length < 2;

  page.follow = (job, sequence, {zoom = false} = {}) => {
    const followed = view.follow(job, sequence);
    error.textContent = "";
    box.hidden = !followed;
    byId("follow-stop").disabled = !followed;
    if (!followed) return false;
    const {path} = followed;
    const name = data.raw.jobs[job].name;
    byId("follow-number").value = sequence;
    jobs.value = job;
    const took = path[path.length - 1].at - path[0].at;
    byId("followed-title").textContent = `Message ${sequence} of ${name}: ${many(path.length, "step")} in ${duration(took)}`;
    byId("followed-path").replaceChildren(...path.slice(0, LISTED).map(step => {
      const fate = step.frame === undefined ? "sent" : data.raw.kinds.fates[data.frames.fate[step.frame]];
      return make("li", {className: fate === "sent" ? "" : fate === "held" ? "held" : "lost"}, make("time", {textContent: seconds(step.at)}), make("span", {textContent: stepWords(data, step)}));
    }));
    byId("followed-more").textContent = path.length > LISTED ? `${path.length - LISTED} more steps are not listed.` : "";
    const seen = path.some(step => step.at >= view.from && step.at <= view.to);
    if (zoom || !seen) page.zoomToFollowed();
    say(`Following message ${sequence} of ${name}, ${path.length} steps. ${stepWords(data, path[path.length - 1])}.`);
    return true;
  };
  page.zoomToFollowed = () => {
    const {path} = view.followed;
    const last = path[path.length - 1];
    view.showAround(path[0].at, last.at + (last.frame === undefined ? 0 : data.frames.took[last.frame]));
  };
  page.stop = () => {
    view.followed = null;
    box.hidden = true;
    byId("follow-stop").disabled = true;
    view.changed();
    say("Nothing is followed.");
  };
  page.neighbour = by => {
    if (!view.followed) return;
    const {job, sequence} = view.followed;
    const next = sequence + by;
    if (next < 0 || next >= data.messages.sizes[job] || !page.follow(job, next)) say("There is no such message.");
  };
  byId("follow-form").onsubmit = event => {
    event.preventDefault();
    const text = byId("follow-number").value.trim(), job = +jobs.value;
    if (!/^\d+$/.test(text) || !page.follow(job, +text, {zoom: true})) {
      const most = data.messages.sizes[job] - 1;
      error.textContent = most < 0 ? "This job sent no message." : `There is no message “${text}”: they are numbered from 0 to ${most}.`;
    }
  };
  byId("follow-stop").onclick = page.stop;
  byId("followed-zoom").onclick = page.zoomToFollowed;
  byId("followed-before").onclick = () => page.neighbour(-1);
  byId("followed-after").onclick = () => page.neighbour(1);

  // The message of a row: the followed one if it is in there, else the first.
  page.followRow = row => {
    const {frames, events} = data;
    view.cursor = row;
    if (row.event !== undefined) {
      if (events.sequence[row.event] >= 0 && events.job[row.event] >= 0) return page.follow(events.job[row.event], events.sequence[row.event]);
    } else if (frames.first[row.frame] < frames.first[row.frame + 1]) {
      const first = frames.first[row.frame], end = frames.first[row.frame + 1];
      let at = first;
      for (let k = first; k < end; k++) if (view.job < 0 || frames.job[k] === view.job) { at = k; break; }
      return page.follow(frames.job[at], frames.sequence[at]);
    }
    say(`${page.rowWords(row)}. It carries no message.`);
    view.changed();
    return false;
  };
  page.rowWords = row => {
    const {events} = data;
    const at = row.event !== undefined ? events.at[row.event] : data.frames.at[row.frame];
    const of = row.event !== undefined && events.sequence[row.event] >= 0 && events.job[row.event] >= 0
      ? `message ${events.sequence[row.event]} of ${data.raw.jobs[events.job[row.event]].name}: ` : "";
    return `${seconds(at)}: ${of}${row.event !== undefined ? eventWords(data, row.event) : frameWords(data, row.frame, false)}`;
  };
}

function place(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function pointing(page) {
  const {data, view, drawn} = page;
  const canvas = byId("diagram"), hint = byId("hint");
  let drag = null;
  canvas.onpointerdown = event => {
    const [x] = place(event, canvas);
    drag = {x, from: view.from, to: view.to, moved: false, choose: event.shiftKey};
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = event => {
    const [x, y] = place(event, canvas);
    if (drag) {
      if (Math.abs(x - drag.x) > 4) drag.moved = true;
      if (drag.moved && !drag.choose) {
        const by = (drag.x - x) / drawn.diagram.scale.span * (drag.to - drag.from);
        view.show(drag.from + by, drag.to + by);
      }
      hint.hidden = true;
      return;
    }
    const row = nearest(data, view, drawn.diagram, x, y);
    const fault = row ? null : faultAt(data, drawn.diagram, x, y);
    hint.hidden = !row && !fault;
    if (hint.hidden) return;
    hint.textContent = row ? page.rowWords(row) : fault.words;
    hint.style.left = `${Math.max(0, Math.min(x + 14, canvas.clientWidth - 390))}px`;
    hint.style.top = `${y + 16}px`;
  };
  canvas.onpointerup = event => {
    const [x, y] = place(event, canvas);
    const was = drag;
    drag = null;
    if (!was) return;
    const {scale} = drawn.diagram;
    if (was.choose && was.moved) view.show(scale.at(Math.min(was.x, x)), scale.at(Math.max(was.x, x)));
    else if (!was.moved) {
      const row = nearest(data, view, drawn.diagram, x, y);
      if (row) page.followRow(row);
    }
  };
  canvas.onpointerleave = () => { hint.hidden = true; };
  canvas.ondblclick = event => view.zoom(event.shiftKey ? 4 : 0.25, drawn.diagram.scale.at(place(event, canvas)[0]));
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return; // the page scrolls
    event.preventDefault();
    view.zoom(Math.exp(event.deltaY * 0.002), drawn.diagram.scale.at(place(event, canvas)[0]));
  }, {passive: false});
}

function faultAt(data, geometry, x, y) {
  const at = geometry.scale.at(x);
  return data.raw.faults.find(fault => fault.from <= at && at <= fault.to && Math.abs(y - 6 - fault.row * FAULT_ROW - FAULT_ROW / 2) < FAULT_ROW / 2);
}

function plotsPointing(page) {
  const {data, view, drawn} = page;
  for (const id of ["flight", "latency"]) {
    const canvas = byId(id);
    canvas.onpointermove = event => { const [x, y] = place(event, canvas); canvas.title = drawn[id].say(x, y); };
  }
  byId("latency").onclick = event => {
    const who = drawn.latency.who(...place(event, byId("latency")));
    if (who) page.follow(who.job, who.sequence);
  };
  const overview = byId("overview");
  let begin = null;
  overview.onpointerdown = event => { begin = place(event, overview)[0]; overview.setPointerCapture(event.pointerId); };
  overview.onpointerup = event => {
    if (begin === null) return;
    const x = place(event, overview)[0], {scale} = drawn.overview;
    if (Math.abs(x - begin) > 4) view.show(scale.at(Math.min(x, begin)), scale.at(Math.max(x, begin)));
    else { const half = (view.to - view.from) / 2; view.show(scale.at(x) - half, scale.at(x) + half); }
    begin = null;
  };
}

function keys(page) {
  const {data, view, say} = page;
  const actions = {
    ArrowLeft: () => view.pan(-0.15), ArrowRight: () => view.pan(0.15),
    ArrowUp: () => view.zoom(0.7), ArrowDown: () => view.zoom(1 / 0.7), "+": () => view.zoom(0.5), "=": () => view.zoom(0.5), "-": () => view.zoom(2),
    "0": () => view.show(0, data.end),
    Home: () => view.show(0, view.to - view.from), End: () => view.show(data.end - (view.to - view.from), data.end),
    ",": () => step(-1), ".": () => step(1),
    Enter: () => { if (view.cursor) page.followRow(view.cursor); else step(1); },
    "[": () => page.neighbour(-1), "]": () => page.neighbour(1),
    Escape: () => { view.cursor = null; page.stop(); },
  };
  byId("diagram").addEventListener("keydown", event => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // To the next or the previous thing shown: from the cursor if it is in the window, else from the window's edge.
  function step(by) {
    const rows = [];
    eachEvent(data, view, event => rows.push({at: data.events.at[event], event}));
    eachFrame(data, view, frame => { if (data.frames.at[frame] >= view.from) rows.push({at: data.frames.at[frame], frame}); });
    rows.sort((a, b) => a.at - b.at);
    const here = view.cursor ? rows.findIndex(row => row.event === view.cursor.event && row.frame === view.cursor.frame) : -1;
    const next = here < 0 ? rows[by > 0 ? 0 : rows.length - 1] : rows[here + by];
    if (!next) { say("Nothing more is shown in this direction."); return; }
    view.cursor = next.event === undefined ? {frame: next.frame} : {event: next.event};
    say(page.rowWords(view.cursor));
    view.changed();
  }
}

function story(page) {
  for (const button of document.querySelectorAll(".story button")) {
    button.hidden = false;
    button.onclick = () => {
      const {from, to, job, message} = button.dataset;
      if (message !== undefined) page.follow(+job, +message, {zoom: true});
      else page.view.showAround(+from, +to);
      byId("picture").scrollIntoView({block: "start"});
      byId("diagram").focus({preventScroll: true});
    };
  }
}

function theme({view}) {
  const button = byId("theme"), root = document.documentElement;
  const themes = ["automatic", "light", "dark"];
  let at = 0;
  const apply = () => {
    if (at) root.dataset.theme = themes[at]; else delete root.dataset.theme;
    button.textContent = `Theme: ${themes[at]}`;
    readColours();
    view.changed();
  };
  button.hidden = false;
  button.onclick = () => { at = (at + 1) % themes.length; apply(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  const copy = byId("copy");
  if (navigator.clipboard) {
    copy.hidden = false;
    copy.onclick = () => navigator.clipboard.writeText(byId("replay").textContent).then(() => { copy.textContent = "Copied"; });
  }
}

// What a reader who sees no canvas learns from them.
function describe({data, view}) {
  const {flight, latency} = view.measured;
  const most = flight.level.reduce((a, b) => Math.max(a, b), 0);
  const slowest = latency.took.reduce((a, b) => Math.max(a, b), 0);
  byId("flight").setAttribute("aria-label", `Messages in flight over time, at most ${most}.`);
  byId("latency").setAttribute("aria-label", `Latency of ${latency.took.length} deliveries over time, at most ${duration(slowest)}.`);
  byId("overview").setAttribute("aria-label", "The whole run, with the window that the diagram shows. The buttons above move it as well.");
}

start();
