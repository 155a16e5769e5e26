// A canvas that is as sharp as the screen, and a scale of time that all canvases share.

function fit(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.parentElement.clientWidth;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px ui-sans-serif, system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.lineWidth = 1;
  pen.globalAlpha = 1;
  return {pen, width, height};
}

const RIGHT = 14;

function gutter(width) {
  return width < 620 ? 92 : 158;
}

function makeScale(width, from, to) {
  const left = gutter(width), span = width - left - RIGHT;
  return {left, right: width - RIGHT, span, x: at => left + (at - from) / (to - from) * span, at: x => from + (x - left) / span * (to - from)};
}

let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "line", "panel", "message", "result", "worker", "registry", "control", "lost", "held", "accent", "fault", "event", "ends", "bad"];
  colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const TICKS = [1, 2, 5];

function ticks(from, to, wanted) {
  const rough = Math.max((to - from) / Math.max(wanted, 1), 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (TICKS.find(one => one * power >= rough) || 10);
  const out = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) out.push(at);
  return {step, out};
}

function drawTime(pen, scale, view, top, bottom) {
  const {step, out} = ticks(view.from, view.to, scale.span / 84);
  const digits = Math.min(9, Math.max(0, Math.ceil(9 - Math.log10(step) - 1e-9)));
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.muted;
  pen.textAlign = "center";
  pen.beginPath();
  for (const at of out) {
    const x = Math.round(scale.x(at)) + 0.5;
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
  }
  pen.stroke();
  for (const at of out) {
    const x = scale.x(at);
    if (x > scale.left + 16 && x < scale.right - 22) pen.fillText(`${(at / 1e9).toFixed(digits)} s`, x, bottom + 10);
  }
}

// A name cut to what fits, measured in the pen's own font.
function clipped(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle; else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

// The bands of faults that touch the window, as far as they lie in it.
function eachFault(data, view, scale, see) {
  for (const fault of data.raw.faults) {
    if (fault.to < view.from || fault.from > view.to) continue;
    const from = Math.max(scale.x(fault.from), scale.left), to = Math.min(scale.x(fault.to), scale.right);
    see(fault, from, Math.max(to, from + 2));
  }
}
