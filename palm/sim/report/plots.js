// Curves over the window's time: messages in flight, latencies of what is delivered; and the whole run as an overview.
// Each column of pixels shows the least and the most of what falls into it, so nothing that sticks out is lost.

const PLOT = {height: 132, top: 10, bottom: 22};

function plotFrame(canvas, data, view) {
  const {pen, width} = fit(canvas, PLOT.height);
  const scale = makeScale(width, view.from, view.to);
  const bottom = PLOT.height - PLOT.bottom;
  eachFault(data, view, scale, (fault, from, to) => {
    pen.fillStyle = colours.fault;
    pen.globalAlpha = 0.12;
    pen.fillRect(from, PLOT.top, to - from, bottom - PLOT.top);
    pen.globalAlpha = 1;
  });
  drawTime(pen, scale, view, PLOT.top, bottom);
  return {pen, scale, bottom};
}

function drawLevels(pen, scale, values, y, write) {
  pen.textAlign = "right";
  for (const value of values) {
    const at = Math.round(y(value)) + 0.5;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(scale.left, at);
    pen.lineTo(scale.right, at);
    pen.stroke();
    pen.fillStyle = colours.muted;
    pen.fillText(write(value), scale.left - 8, at);
  }
}

function drawFlight(canvas, data, view) {
  const {pen, scale, bottom} = plotFrame(canvas, data, view);
  const {at, level} = view.measured.flight;
  const from = Math.max(0, firstFrom(at.length, i => at[i], view.from) - 1);
  const to = firstFrom(at.length, i => at[i], view.to);
  let most = 1;
  for (let i = from; i < to; i++) if (level[i] > most) most = level[i];
  const top = ticks(0, most, 3);
  const ceiling = Math.max(most, top.out[top.out.length - 1] || 1);
  const y = value => bottom - value / ceiling * (bottom - PLOT.top);
  drawLevels(pen, scale, top.out.filter(Number.isInteger), y, value => value.toLocaleString("en"));
  pen.strokeStyle = colours.message;
  pen.fillStyle = colours.message;
  pen.lineWidth = 1.5;
  pen.beginPath();
  let current = from < at.length && at[from] <= view.from ? level[from] : 0;
  pen.moveTo(scale.left, y(current));
  for (let i = from; i < to;) {
    const x = Math.max(scale.left, scale.x(at[i]) | 0);
    let least = current, high = current;
    pen.lineTo(x, y(current));
    do {
      current = level[i];
      if (current < least) least = current;
      if (current > high) high = current;
      i++;
    } while (i < to && (scale.x(at[i]) | 0) <= x);
    pen.lineTo(x, y(high));
    pen.lineTo(x, y(least));
    pen.lineTo(x, y(current));
  }
  pen.lineTo(Math.min(scale.right, scale.x(data.end)), y(current));
  pen.stroke();
  pen.lineWidth = 1;
  return {scale, say: x => {
    const moment = scale.at(x), i = firstFrom(at.length, k => at[k], moment) - 1;
    return `${seconds(moment, 3)}: ${i < 0 ? 0 : level[i]} in flight`;
  }};
}

const SAMPLES = 48; // of one column, for its median: enough to a few per cent

function drawLatency(canvas, data, view) {
  const {pen, scale, bottom} = plotFrame(canvas, data, view);
  const {at, took, who} = view.measured.latency;
  const from = firstFrom(at.length, i => at[i], view.from), to = firstFrom(at.length, i => at[i], view.to);
  let low = Infinity, high = 0;
  for (let i = from; i < to; i++) { if (took[i] < low) low = took[i]; if (took[i] > high) high = took[i]; }
  if (!high) { low = 1e6; high = 1e7; }
  const floor = Math.floor(Math.log10(Math.max(low, 1)));
  const ceiling = Math.max(Math.ceil(Math.log10(high)), floor + 1);
  const y = value => bottom - (Math.log10(Math.max(value, 1)) - floor) / (ceiling - floor) * (bottom - PLOT.top);
  const powers = [];
  for (let power = floor; power <= ceiling; power++) powers.push(10 ** power);
  drawLevels(pen, scale, powers, y, duration);
  const few = to - from < 1500;
  pen.fillStyle = pen.strokeStyle = colours.result;
  const median = [];
  pen.globalAlpha = few ? 0.85 : 0.5;
  pen.beginPath();
  for (let i = from; i < to;) {
    const x = scale.x(at[i]) | 0, begin = i;
    let least = took[i], most = took[i];
    while (i < to && (scale.x(at[i]) | 0) === x) {
      if (few) pen.rect(x - 1, y(took[i]) - 1, 2.5, 2.5);
      if (took[i] < least) least = took[i];
      if (took[i] > most) most = took[i];
      i++;
    }
    if (!few) {
      pen.rect(x, y(most), 1, Math.max(1, y(least) - y(most)));
      const step = Math.max(1, (i - begin) / SAMPLES | 0), sample = [];
      for (let k = begin; k < i; k += step) sample.push(took[k]);
      sample.sort((a, b) => a - b);
      median.push(x, sample[sample.length >> 1]);
    }
  }
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.ink;
  pen.beginPath();
  for (let k = 0; k < median.length; k += 2) pen[k ? "lineTo" : "moveTo"](median[k], y(median[k + 1]));
  pen.stroke();
  if (view.followed) {
    const key = data.messages.number(view.followed.job, view.followed.sequence);
    pen.fillStyle = colours.accent;
    for (let i = from; i < to; i++) if (who[i] === key) {
      pen.beginPath();
      pen.arc(scale.x(at[i]), y(took[i]), 5, 0, 7);
      pen.fill();
    }
  }
  const near = (px, py) => {
    let best = -1, least = 14;
    for (let i = from; i < to; i++) {
      const distance = Math.hypot(scale.x(at[i]) - px, y(took[i]) - py);
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  };
  return {
    scale,
    who: (px, py) => { const i = near(px, py); return i < 0 ? null : messageOf(data, who[i]); },
    say: (px, py) => {
      const i = near(px, py);
      if (i < 0) return `${seconds(scale.at(px), 3)}`;
      const {job, sequence} = messageOf(data, who[i]);
      return `message ${sequence} of ${data.raw.jobs[job].name}: ${duration(took[i])}`;
    },
  };
}

const OVERVIEW = 46;

function drawOverview(canvas, data, view) {
  const {pen, width} = fit(canvas, OVERVIEW);
  const scale = makeScale(width, 0, Math.max(data.end, 1));
  const counts = overviewCounts(data, view, scale.span | 0);
  pen.fillStyle = colours.message;
  pen.globalAlpha = 0.6;
  counts.values.forEach((count, x) => {
    if (count) pen.fillRect(scale.left + x, OVERVIEW - 4, 1, -Math.max(1, Math.sqrt(count / counts.most) * (OVERVIEW - 12)));
  });
  pen.fillStyle = colours.fault;
  pen.globalAlpha = 0.25;
  for (const fault of data.raw.faults) pen.fillRect(scale.x(fault.from), 4, Math.max(2, scale.x(fault.to) - scale.x(fault.from)), OVERVIEW - 8);
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 2;
  const from = scale.x(view.from), to = scale.x(view.to);
  pen.strokeRect(from, 3, Math.max(3, to - from), OVERVIEW - 6);
  pen.fillStyle = colours.muted;
  pen.textAlign = "right";
  pen.fillText("whole run", scale.left - 8, OVERVIEW / 2);
  return {scale};
}

function overviewCounts(data, view, width) {
  const kept = view.overview;
  if (kept && kept.width === width && kept.of === view.frameShown) return kept;
  const values = new Float64Array(Math.max(width, 1));
  const {frames} = data, end = Math.max(data.end, 1);
  let most = 1;
  for (let i = 0; i < frames.count; i++) {
    if (!view.frameShown[i]) continue;
    const x = Math.min(values.length - 1, frames.at[i] / end * width | 0);
    if (++values[x] > most) most = values[x];
  }
  return view.overview = {values, most, width, of: view.frameShown};
}
