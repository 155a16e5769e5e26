// What rows mean, in words: for lists, hints and screen readers. This file touches no document.

function seconds(ns, digits = 6) {
  return `${(ns / 1e9).toFixed(digits)} s`;
}

function duration(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${+(ns / 1e3).toPrecision(4)} µs`;
  if (ns < 1e9) return `${+(ns / 1e6).toPrecision(4)} ms`;
  return `${+(ns / 1e9).toPrecision(5)} s`;
}

function bytes(count) {
  return count < 10000 ? `${count} B` : count < 1e7 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1048576).toFixed(1)} MiB`;
}

function many(count, one, more = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
}

const EVENT_WORDS = {
  "sent": () => "taken from its source by the client",
  "redelivered": row => `sent again by the client, as attempt ${row.attempt}`,
  "delivered": () => "result handed to the caller",
  "failed": () => "ended as failed",
  "expired": () => "ended as expired: its deadline passed",
  "dead-lettered": () => "ended as dead-lettered: it kept killing who handled it",
  "stale": () => "a late answer was dropped",
  "handling": row => `user code begins in ${row.lane}${row.attempt > 1 ? `, attempt ${row.attempt}` : ""}`,
  "answered": row => `user code ended in ${row.lane}, and its result goes on`,
  "remembered": row => `${row.lane} answered from memory, without running user code again`,
  "busy": row => `${row.lane} refused it: over its bound`,
  "started": row => `${row.lane} starts`,
  "crashed": row => `${row.lane} dies`,
  "stopped": row => `${row.lane} stops in good order`,
  "registered": row => `${row.lane} is in the registry`,
  "deregistered": row => `${row.lane} left the registry`,
  "lease-expired": row => `the lease of ${row.lane} expired: it is gone from the registry`,
  "elected": row => `${row.lane} leads its server, term ${row.detail}`,
  "deposed": row => `${row.lane} leads no more`,
  "led": row => `${row.lane} acts as leader, term ${row.detail}`,
};

function eventWords(data, i) {
  const {raw, events} = data;
  const row = {lane: events.lane[i] < 0 ? "" : raw.lanes[events.lane[i]].name, attempt: events.attempt[i], detail: raw.details[events.detail[i]]};
  const kind = raw.kinds.events[events.kind[i]];
  const words = EVENT_WORDS[kind];
  return words ? words(row) : `${kind} ${row.lane}`.trim();
}

const FATE_WORDS = {
  "sent": () => "",
  "cut": () => ": lost, the link is cut",
  "lost": () => ": lost on the way",
  "broken": () => ": lost, its connection broke before it arrived",
  "held": () => ": held at the link until the fault is over",
};

function frameWords(data, i, follows) {
  const {raw, frames} = data;
  const carries = frames.first[i + 1] - frames.first[i];
  const others = carries - (follows ? 1 : 0);
  const load = follows
    ? (others ? `with ${many(others, "other")} in one frame` : "in a frame of its own")
    : (carries ? `carrying ${many(carries, "message")}` : "");
  const fate = FATE_WORDS[raw.kinds.fates[frames.fate[i]]] || (() => `: ${raw.kinds.fates[frames.fate[i]]}`);
  const arrives = frames.took[i] > 0 && raw.kinds.fates[frames.fate[i]] === "sent" ? `, there ${duration(frames.took[i])} later` : "";
  const from = raw.lanes[frames.from[i]].name, to = raw.lanes[frames.to[i]].name;
  return `${raw.kinds.frames[frames.kind[i]]} ${from} → ${to}${load ? `, ${load}` : ""} (${bytes(frames.bytes[i])})${arrives}${fate()}`;
}

function stepWords(data, step) {
  return step.frame === undefined ? eventWords(data, step.event) : frameWords(data, step.frame, true);
}
