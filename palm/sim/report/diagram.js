// Space and time: a line for each process, an arrow for each frame, a mark for each event, a band for each fault.
//
// Level of detail: where there are more frames than can be told apart, of all that go between the same two lines with the
// same fate and leave in the same few pixels, one is drawn. So the work of a frame of the browser is bounded by
// the width of the canvas, and only the walk over the window grows with the run.

const MOST_ARROWS = 6000;
const MOST_HEADS = 900;
const FAULT_ROW = 18;

function drawDiagram(canvas, data, view) {
  const shown = laneRows(data, view);
  const faultRows = packFaults(data);
  const top = 6 + faultRows * FAULT_ROW + 8;
  const gap = Math.max(12, Math.min(46, 420 / Math.max(shown.count, 1)));
  const bottom = top + Math.max(shown.count, 1) * gap;
  const {pen, width} = fit(canvas, bottom + 22);
  const scale = makeScale(width, view.from, view.to);
  const y = lane => top + (shown.row[lane] + 0.5) * gap;
  drawTime(pen, scale, view, top, bottom);
  drawBands(pen, data, view, scale, shown, y, gap, top, bottom);
  drawLanes(pen, data, shown, scale, y, gap);
  pen.save();
  pen.beginPath();
  pen.rect(scale.left, 0, scale.span + RIGHT, bottom + 2);
  pen.clip();
  const drawn = drawFrames(pen, data, view, scale, y, gap);
  drawEvents(pen, data, view, scale, y, gap);
  if (view.followed) drawPath(pen, data, view, scale, shown, y);
  if (view.cursor) drawCursor(pen, data, view, scale, y);
  pen.restore();
  view.stats.drawn = drawn;
  return {scale, y, shown, top, bottom};
}

function laneRows(data, view) {
  const row = new Int16Array(data.raw.lanes.length).fill(-1);
  let count = 0;
  data.raw.lanes.forEach((_, lane) => { if (view.lanes[lane]) row[lane] = count++; });
  return {row, count};
}

// Bars that overlap in time go below each other.
function packFaults(data) {
  const ends = [];
  for (const fault of data.raw.faults) {
    let row = ends.findIndex(end => end <= fault.from);
    if (row < 0) row = ends.length;
    ends[row] = fault.to;
    fault.row = row;
  }
  return ends.length;
}

function drawLanes(pen, data, shown, scale, y, gap) {
  pen.textAlign = "right";
  data.raw.lanes.forEach((lane, i) => {
    if (shown.row[i] < 0) return;
    const at = Math.round(y(i)) + 0.5;
    pen.strokeStyle = colours.muted;
    pen.globalAlpha = 0.55;
    pen.beginPath();
    pen.moveTo(scale.left, at);
    pen.lineTo(scale.right, at);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.fillStyle = colours.ink;
    const roomy = gap >= 28 && lane.place && lane.place !== lane.name;
    pen.fillText(clipped(pen, lane.name, scale.left - 12), scale.left - 8, at - (roomy ? 7 : 0));
    if (roomy) {
      pen.fillStyle = colours.muted;
      pen.fillText(clipped(pen, `on ${lane.place}`, scale.left - 12), scale.left - 8, at + 8);
    }
  });
}

function drawBands(pen, data, view, scale, shown, y, gap, top, bottom) {
  eachFault(data, view, scale, (fault, from, to) => {
    pen.fillStyle = colours.fault;
    pen.globalAlpha = 0.13;
    for (const lane of fault.lanes)
      if (shown.row[lane] >= 0) pen.fillRect(from, y(lane) - gap / 2 + 1, to - from, gap - 2);
    pen.globalAlpha = 0.5;
    pen.strokeStyle = colours.fault;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    for (const x of [from, to]) {
      pen.moveTo(x, 6 + fault.row * FAULT_ROW);
      pen.lineTo(x, bottom);
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 0.9;
    const bar = 6 + fault.row * FAULT_ROW;
    pen.fillRect(from, bar, to - from, FAULT_ROW - 4);
    pen.globalAlpha = 1;
    pen.textAlign = "left";
    if (to - from > 34) {
      pen.fillStyle = colours.panel;
      pen.fillText(clipped(pen, fault.title, to - from - 8), from + 5, bar + FAULT_ROW / 2 - 2);
    }
  });
}

function kindColour(data, kind) {
  return colours[data.raw.kinds.colours[kind]];
}

function drawFrames(pen, data, view, scale, y, gap) {
  const {frames, raw} = data;
  const lanes = raw.lanes.length, fates = raw.kinds.fates.length;
  let total = 0;
  eachFrame(data, view, () => total++);
  const dense = total > MOST_ARROWS;
  const column = dense ? Math.max(1, scale.span * view.pairs / MOST_ARROWS) : 0;
  const last = dense ? new Int32Array(lanes * lanes * fates).fill(-1) : null;
  const chosen = new Map(); // a list of frames for each way of drawing them
  let drawn = 0;
  eachFrame(data, view, i => {
    if (dense) {
      const where = Math.max(0, (scale.x(frames.at[i]) - scale.left) / column | 0) + 1;
      const pair = (frames.from[i] * lanes + frames.to[i]) * fates + frames.fate[i];
      if (last[pair] === where) return;
      last[pair] = where;
    }
    drawn++;
    const style = frames.kind[i] * fates + frames.fate[i];
    if (!chosen.has(style)) chosen.set(style, []);
    chosen.get(style).push(i);
  });
  const heads = drawn <= MOST_HEADS;
  const faint = view.followed ? 0.22 : 1;
  for (const [style, list] of chosen) {
    const fate = raw.kinds.fates[style % fates];
    const arrives = fate === "sent";
    const colour = arrives ? kindColour(data, style / fates | 0) : fate === "held" ? colours.held : colours.lost;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.globalAlpha = faint * (arrives ? (drawn > 2500 ? 0.35 : drawn > 600 ? 0.55 : 0.85) : 0.9);
    pen.beginPath();
    for (const i of list) arrow(pen, data, scale, y, gap, i, arrives, heads);
    pen.stroke();
    if (heads && arrives) {
      pen.beginPath();
      for (const i of list) head(pen, data, scale, y, i);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
  return drawn;
}

// Where an arrow begins and ends; what is lost ends in a cross on its way, what is held at its own line.
function ends(data, scale, y, i) {
  const {frames, raw} = data;
  const x1 = scale.x(frames.at[i]), y1 = y(frames.from[i]);
  const fate = raw.kinds.fates[frames.fate[i]];
  const x2 = Math.min(scale.x(frames.at[i] + frames.took[i]), 1e5), y2 = y(frames.to[i]);
  if (fate === "sent") return [Math.max(x1, -1e5), y1, x2, y2];
  const part = fate === "held" ? 0.12 : 0.45;
  return [x1, y1, x1 + (fate === "broken" ? (x2 - x1) * part : 3), y1 + (y2 - y1) * part];
}

function arrow(pen, data, scale, y, gap, i, arrives) {
  const [x1, y1, x2, y2] = ends(data, scale, y, i);
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  if (!arrives) {
    pen.moveTo(x2 - 3, y2 - 3);
    pen.lineTo(x2 + 3, y2 + 3);
    pen.moveTo(x2 + 3, y2 - 3);
    pen.lineTo(x2 - 3, y2 + 3);
  }
}

function head(pen, data, scale, y, i, size = 6) {
  const [x1, y1, x2, y2] = ends(data, scale, y, i);
  const angle = Math.atan2(y2 - y1, x2 - x1);
  pen.moveTo(x2, y2);
  pen.lineTo(x2 - size * Math.cos(angle - 0.4), y2 - size * Math.sin(angle - 0.4));
  pen.lineTo(x2 - size * Math.cos(angle + 0.4), y2 - size * Math.sin(angle + 0.4));
  pen.closePath();
}

const LOUD = {crashed: "bad", "lease-expired": "bad", failed: "bad", expired: "bad", "dead-lettered": "bad", redelivered: "held", started: "ends", registered: "ends", elected: "ends", deposed: "held"};

function drawEvents(pen, data, view, scale, y, gap) {
  const {events, raw} = data;
  const kinds = raw.kinds.events.length;
  const last = new Int32Array(raw.lanes.length * kinds).fill(-9);
  const marks = new Map();
  eachEvent(data, view, i => {
    const x = scale.x(events.at[i]) | 0, lane = view.eventLane[i];
    const key = lane * kinds + events.kind[i];
    if (x - last[key] < 2) return;
    last[key] = x;
    if (!marks.has(events.kind[i])) marks.set(events.kind[i], []);
    marks.get(events.kind[i]).push(x, y(lane));
  });
  const faint = view.followed ? 0.3 : 1;
  for (const [kind, list] of marks) {
    const name = raw.kinds.events[kind], loud = LOUD[name];
    pen.fillStyle = colours[loud || "event"];
    pen.globalAlpha = faint * (loud ? 0.95 : list.length > 1600 ? 0.4 : 0.8);
    const size = loud ? 4 : Math.min(2.5, gap / 8);
    pen.beginPath();
    for (let k = 0; k < list.length; k += 2) {
      if (loud) diamond(pen, list[k], list[k + 1], size);
      else pen.rect(list[k] - size / 2, list[k + 1] - size, size, 2 * size);
    }
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function diamond(pen, x, y, size) {
  pen.moveTo(x, y - size);
  pen.lineTo(x + size, y);
  pen.lineTo(x, y + size);
  pen.lineTo(x - size, y);
  pen.closePath();
}

function drawPath(pen, data, view, scale, shown, y) {
  const {frames, events} = data;
  pen.strokeStyle = pen.fillStyle = colours.accent;
  pen.lineWidth = 2.5;
  for (const step of view.followed.path) {
    if (step.frame !== undefined) {
      if (shown.row[frames.from[step.frame]] < 0 || shown.row[frames.to[step.frame]] < 0) continue;
      const fate = data.raw.kinds.fates[frames.fate[step.frame]];
      pen.strokeStyle = pen.fillStyle = fate === "sent" ? colours.accent : colours.lost;
      pen.beginPath();
      arrow(pen, data, scale, y, 0, step.frame, fate === "sent");
      pen.stroke();
      if (fate === "sent") {
        pen.beginPath();
        head(pen, data, scale, y, step.frame, 9);
        pen.fill();
      }
    } else {
      const lane = view.eventLane[step.event];
      if (lane < 0 || shown.row[lane] < 0) continue;
      pen.fillStyle = colours.accent;
      pen.beginPath();
      pen.arc(scale.x(events.at[step.event]), y(lane), 4.5, 0, 7);
      pen.fill();
    }
  }
  pen.lineWidth = 1;
}

function drawCursor(pen, data, view, scale, y) {
  const at = rowPlace(data, view, view.cursor);
  pen.strokeStyle = colours.ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(scale.x(at.at), y(at.lane), 8, 0, 7);
  pen.stroke();
  pen.lineWidth = 1;
}

function rowPlace(data, view, row) {
  return row.frame === undefined
    ? {at: data.events.at[row.event], lane: view.eventLane[row.event]}
    : {at: data.frames.at[row.frame], lane: data.frames.from[row.frame]};
}

const REACH = 9; // px from the pointer within which something is meant

// What lies nearest to a point of the canvas: {event} or {frame}, or null.
function nearest(data, view, geometry, px, py) {
  const {scale, y} = geometry;
  let best = null, least = REACH;
  eachEvent(data, view, i => {
    const distance = Math.hypot(scale.x(data.events.at[i]) - px, y(view.eventLane[i]) - py);
    if (distance < least) { least = distance; best = {event: i}; }
  });
  if (best && least < 4) return best;
  eachFrame(data, view, i => {
    const [x1, y1, x2, y2] = ends(data, scale, y, i);
    const distance = toSegment(px, py, x1, y1, x2, y2) + 1;
    if (distance < least) { least = distance; best = {frame: i}; }
  });
  return best;
}

function toSegment(px, py, x1, y1, x2, y2) {
  const dx = x2 - x1, dy = y2 - y1, length = dx * dx + dy * dy;
  const share = length ? Math.max(0, Math.min(1, ((px - x1) * dx + (py - y1) * dy) / length)) : 0;
  return Math.hypot(px - x1 - share * dx, py - y1 - share * dy);
}
