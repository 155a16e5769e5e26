// What is looked at: a window of time, the lanes, jobs and kinds that are shown, and one message that is followed.
// Whoever changes it calls `changed()`, which has everything drawn once in the next frame of the browser.

const SHORTEST = 1000; // ns: the narrowest window, three digits below the shortest delay of a link

function makeView(data, draw) {
  const view = {
    from: 0,
    to: Math.max(data.end, SHORTEST),
    lanes: data.raw.lanes.map(() => true),
    frameKinds: data.raw.kinds.frames.map(kind => !data.raw.kinds.quiet.includes(kind)),
    eventKinds: data.raw.kinds.events.map(() => true),
    job: -1,
    followed: null, // {job, sequence, path}
    cursor: null, // {frame} or {event}: what the keyboard stands on
    stats: {draws: 0, last_ms: 0, worst_ms: 0, drawn: 0},
  };
  let due = false;

  view.changed = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      const begin = performance.now();
      draw(view);
      const took = performance.now() - begin;
      view.stats.draws++;
      view.stats.last_ms = took;
      view.stats.worst_ms = Math.max(view.stats.worst_ms, took);
      view.onDrawn(view.stats);
    });
  };
  view.onDrawn = () => {};

  view.filtered = () => { sift(data, view); view.changed(); };

  view.show = (from, to) => {
    const least = Math.min(SHORTEST, data.end || SHORTEST);
    let span = Math.min(Math.max(to - from, least), Math.max(data.end, least));
    from = Math.min(Math.max(from, 0), Math.max(data.end - span, 0));
    view.from = from;
    view.to = from + span;
    view.changed();
  };
  view.zoom = (factor, around = (view.from + view.to) / 2) =>
    view.show(around - (around - view.from) * factor, around + (view.to - around) * factor);
  view.pan = share => {
    const by = (view.to - view.from) * share;
    view.show(view.from + by, view.to + by);
  };
  view.showAround = (from, to) => {
    const room = Math.max((to - from) * 0.15, 50e3);
    view.show(from - room, to + room);
  };
  view.follow = (job, sequence) => {
    const path = pathOf(data, job, sequence);
    view.followed = path.length ? {job, sequence, path} : null;
    view.changed();
    return view.followed;
  };
  sift(data, view);
  return view;
}

// Which rows pass the filters: a byte each, so that drawing asks one array.
function sift(data, view) {
  const {frames, events, raw} = data;
  const laneOfJob = raw.jobs.map(job => job.lane);
  view.frameShown = new Uint8Array(frames.count);
  const pairs = new Set();
  for (let i = 0; i < frames.count; i++) {
    if (!view.frameKinds[frames.kind[i]] || !view.lanes[frames.from[i]] || !view.lanes[frames.to[i]]) continue;
    let shown = view.job < 0 || frames.first[i] === frames.first[i + 1];
    for (let k = frames.first[i]; !shown && k < frames.first[i + 1]; k++) shown = frames.job[k] === view.job;
    view.frameShown[i] = shown ? 1 : 0;
    if (shown) pairs.add((frames.from[i] * raw.lanes.length + frames.to[i]) * raw.kinds.fates.length + frames.fate[i]);
  }
  view.pairs = Math.max(pairs.size, 1);
  view.eventShown = new Uint8Array(events.count);
  view.eventLane = new Int16Array(events.count);
  for (let i = 0; i < events.count; i++) {
    const lane = events.lane[i] >= 0 ? events.lane[i] : events.job[i] >= 0 ? laneOfJob[events.job[i]] : -1;
    view.eventLane[i] = lane;
    const job = view.job < 0 || events.job[i] < 0 || events.job[i] === view.job;
    view.eventShown[i] = lane >= 0 && view.lanes[lane] && view.eventKinds[events.kind[i]] && job ? 1 : 0;
  }
  view.measured = measure(data, job => view.job < 0 || job === view.job);
}

// Calls `see(i)` for each frame shown that touches the window, in order of time.
function eachFrame(data, view, see) {
  const {frames} = data;
  const from = firstFrom(frames.count, i => frames.at[i], view.from);
  const to = firstFrom(frames.count, i => frames.at[i], view.to);
  for (let block = 0; block * BLOCK < from; block++) {
    if (frames.longest[block] < view.from) continue;
    for (let i = block * BLOCK; i < Math.min(from, (block + 1) * BLOCK); i++)
      if (view.frameShown[i] && frames.at[i] + frames.took[i] >= view.from) see(i);
  }
  for (let i = from; i < to; i++) if (view.frameShown[i]) see(i);
}

function eachEvent(data, view, see) {
  const {events} = data;
  const from = firstFrom(events.count, i => events.at[i], view.from);
  for (let i = from; i < events.count && events.at[i] <= view.to; i++) if (view.eventShown[i]) see(i);
}
