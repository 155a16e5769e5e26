// The run as typed columns: frames and events in order of time, and an index from each message to both.
// Times are nanoseconds in doubles (exact up to 104 days). This file draws nothing.

function running(deltas) {
  const out = new Float64Array(deltas.length);
  let sum = 0;
  for (let i = 0; i < deltas.length; i++) out[i] = sum += deltas[i];
  return out;
}

// The first index whose value is not below `value`, in ascending numbers `at(0)` to `at(length - 1)`.
function firstFrom(length, at, value) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(middle) < value) low = middle + 1; else high = middle;
  }
  return low;
}

function readData(raw) {
  const f = raw.frames, e = raw.events;
  const frames = {
    count: f.at.length,
    at: running(f.at),
    took: Float64Array.from(f.took),
    from: Uint16Array.from(f.from),
    to: Uint16Array.from(f.to),
    kind: Uint8Array.from(f.kind),
    fate: Uint8Array.from(f.fate),
    bytes: Uint32Array.from(f.bytes),
    first: new Uint32Array(f.at.length + 1),
  };
  for (let i = 0; i < frames.count; i++) frames.first[i + 1] = frames.first[i] + f.carries[i];
  frames.job = Uint16Array.from(f.job);
  frames.sequence = unfold(f.sequence);
  // How long the longest of the next frames is under way: what began before a window may still cross it. In blocks, so
  // that one frame that was held for a minute does not make every search begin a minute earlier.
  frames.longest = longestInBlocks(frames);
  const events = {
    count: e.at.length,
    at: running(e.at),
    kind: Uint8Array.from(e.kind),
    lane: Int16Array.from(e.lane),
    job: Int16Array.from(e.job),
    sequence: unfold(e.sequence),
    attempt: Uint16Array.from(e.attempt),
    detail: Uint32Array.from(e.detail),
  };
  const data = {raw, frames, events, end: raw.end};
  data.messages = indexMessages(data);
  data.frameMessages = indexFrames(data);
  return data;
}

// Sequences come as differences to the one before: neighbours are close to each other.
function unfold(deltas) {
  const out = new Float64Array(deltas.length);
  let last = 0;
  for (let i = 0; i < deltas.length; i++) out[i] = last += deltas[i];
  return out;
}

const BLOCK = 512;

function longestInBlocks(frames) {
  const blocks = Math.ceil(frames.count / BLOCK);
  const arrives = new Float64Array(blocks);
  for (let i = 0; i < frames.count; i++) {
    const block = i / BLOCK | 0;
    arrives[block] = Math.max(arrives[block], frames.at[i] + frames.took[i]);
  }
  return arrives;
}

// Rows by message, as one array of rows and where each message's begin (jobs one after the other).
function indexMessages(data) {
  const jobs = data.raw.jobs.length;
  const sizes = new Float64Array(jobs);
  const {events, frames} = data;
  for (let i = 0; i < events.count; i++)
    if (events.job[i] >= 0 && events.sequence[i] >= 0) sizes[events.job[i]] = Math.max(sizes[events.job[i]], events.sequence[i] + 1);
  for (let i = 0; i < frames.sequence.length; i++)
    sizes[frames.job[i]] = Math.max(sizes[frames.job[i]], frames.sequence[i] + 1);
  const base = new Float64Array(jobs + 1);
  for (let job = 0; job < jobs; job++) base[job + 1] = base[job] + sizes[job];
  const number = (job, sequence) => base[job] + sequence;
  const index = buildIndex(base[jobs], events.count, i => events.job[i] >= 0 && events.sequence[i] >= 0 ? number(events.job[i], events.sequence[i]) : -1);
  return {sizes, base, number, rows: index.rows, begin: index.begin};
}

function indexFrames(data) {
  const {frames, messages} = data;
  const holder = new Uint32Array(frames.sequence.length);
  for (let i = 0; i < frames.count; i++) holder.fill(i, frames.first[i], frames.first[i + 1]);
  const total = messages.base[messages.base.length - 1];
  const index = buildIndex(total, frames.sequence.length, i => messages.number(frames.job[i], frames.sequence[i]));
  for (let i = 0; i < index.rows.length; i++) index.rows[i] = holder[index.rows[i]];
  return index;
}

function buildIndex(keys, count, keyOf) {
  const begin = new Uint32Array(keys + 1);
  for (let i = 0; i < count; i++) { const key = keyOf(i); if (key >= 0) begin[key + 1]++; }
  for (let key = 0; key < keys; key++) begin[key + 1] += begin[key];
  const rows = new Uint32Array(begin[keys]);
  const next = begin.slice();
  for (let i = 0; i < count; i++) { const key = keyOf(i); if (key >= 0) rows[next[key]++] = i; }
  return {begin, rows};
}

// Everything that happened to one message, in order of time: {at, frame} or {at, event}.
function pathOf(data, job, sequence) {
  const {messages, frameMessages, events, frames} = data;
  if (!(sequence >= 0 && sequence < messages.sizes[job])) return [];
  const key = messages.number(job, sequence);
  const path = [];
  for (let i = messages.begin[key]; i < messages.begin[key + 1]; i++)
    path.push({at: events.at[messages.rows[i]], event: messages.rows[i]});
  let last = -1;
  for (let i = frameMessages.begin[key]; i < frameMessages.begin[key + 1]; i++) {
    const frame = frameMessages.rows[i];
    if (frame !== last) path.push({at: frames.at[frame], frame});
    last = frame;
  }
  // At one moment: taken, then sent; a frame leaves after the work that made it.
  return path.sort((a, b) => a.at - b.at || (a.frame === undefined ? 0 : 1) - (b.frame === undefined ? 0 : 1));
}

// What the plots need: how many messages of the chosen jobs are in flight after each change, and each delivery's latency.
function measure(data, hasJob) {
  const {events, messages} = data;
  const {sent, ends, delivered} = data.raw.kinds;
  const sentAt = new Float64Array(messages.base[messages.base.length - 1]).fill(-1);
  const at = [], level = [], doneAt = [], latency = [], who = [];
  let open = 0;
  for (let i = 0; i < events.count; i++) {
    const job = events.job[i];
    if (job < 0 || !hasJob(job)) continue;
    const kind = events.kind[i], key = messages.number(job, events.sequence[i]);
    if (kind === sent) { sentAt[key] = events.at[i]; at.push(events.at[i]); level.push(++open); }
    else if (ends.includes(kind)) {
      at.push(events.at[i]); level.push(--open);
      if (kind === delivered && sentAt[key] >= 0) { doneAt.push(events.at[i]); latency.push(events.at[i] - sentAt[key]); who.push(key); }
    }
  }
  return {
    flight: {at: Float64Array.from(at), level: Int32Array.from(level)},
    latency: {at: Float64Array.from(doneAt), took: Float64Array.from(latency), who: Float64Array.from(who)},
  };
}

// The job and the sequence of a message's number.
function messageOf(data, key) {
  let job = 0;
  while (key >= data.messages.base[job + 1]) job++;
  return {job, sequence: key - data.messages.base[job]};
}
