// The status page: asks for the documents below api/v1, and draws them. Text goes into the page as text only.
"use strict";

const EVERY_MS = 2000;
// A look at a very large director takes its time; it is to be little of all time.
const LEAST_PAUSE = 10;
const POINTS = 150;
// A chart is as wide as this many at least, so that the first ones do not look like an hour.
const LEAST_POINTS = 15;
const MOST_SERVICES = 200;

const FATES = { drop: "dropped", pass: "left to the stack", hold: "held, to be sent again" };

const byId = (id) => document.getElementById(id);
const trails = new Map();
const rows = new Map();
const open = new Set();
let last = null;
let latest = null;
let paused = false;

function element(name, words, className) {
  const made = document.createElement(name);
  if (words !== undefined) made.textContent = words;
  if (className) made.className = className;
  return made;
}

function number(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e4]]) {
    const step = unit === "k" ? 1e3 : size;
    if (value >= size) return (value / step).toFixed(value / step >= 100 ? 0 : 1) + " " + unit;
  }
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

const exactly = (value) => value.toLocaleString("en");

// Remembers a value, and gives all that are remembered.
function trail(name, value) {
  if (!trails.has(name)) trails.set(name, []);
  const points = trails.get(name);
  points.push(value);
  if (points.length > POINTS) points.shift();
  return points;
}

const SVG = "http://www.w3.org/2000/svg";

function chart() {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", "0 0 100 30");
  made.setAttribute("preserveAspectRatio", "none");
  made.setAttribute("role", "img");
  made.append(document.createElementNS(SVG, "polygon"), document.createElementNS(SVG, "polyline"));
  return made;
}

function draw(svg, points, label) {
  const most = Math.max(1, ...points);
  const step = 100 / (Math.max(LEAST_POINTS, points.length) - 1);
  const from = 100 - (points.length - 1) * step;
  const line = points.map((value, at) => (from + at * step).toFixed(2) + "," + (29 - 27 * value / most).toFixed(2));
  svg.lastChild.setAttribute("points", line.join(" "));
  svg.firstChild.setAttribute("points", from.toFixed(2) + ",30 " + line.join(" ") + " 100,30");
  svg.setAttribute("aria-label", label + ": now " + number(points[points.length - 1]) + ", at most " + number(most));
  return most;
}

// A card with a number and its course.
function card(id, title, value, isBad) {
  let made = byId("chart-" + id);
  if (!made) {
    made = element("figure", undefined, isBad ? "card bad-line" : "card");
    made.id = "chart-" + id;
    const axis = element("div", undefined, "axis");
    axis.append(element("span"), element("span"));
    made.append(element("figcaption", title), element("div", "", "value"), chart(), axis);
    byId("charts").append(made);
  }
  made.children[1].textContent = number(value);
  const most = draw(made.children[2], trail("card " + id, value), title);
  const times = trail("times " + id, performance.now());
  made.children[3].firstChild.textContent = "for " + span((times[times.length - 1] - times[0]) / 1000);
  made.children[3].lastChild.textContent = "at most " + number(most);
}

const hopsOf = (status) => new Map(status.next_hops.map((hop) => [hop.server, hop]));

function isUsable(server, hops) {
  const hop = hops.get(server.address);
  return server.weight > 0 && hop !== undefined && hop.state !== "unknown";
}

function hopWords(hop) {
  if (!hop || hop.state === "unknown") return ["no way: nobody answers", "bad"];
  if (hop.state === "local") return ["the director itself", "good"];
  const vlans = hop.vlans.map((vlan) => ", VLAN " + vlan).join("");
  return ["up, " + hop.interface + vlans, "good"];
}

// A row of the table, made once and then kept: the focus and what is open stay.
function row(key, kind) {
  if (!rows.has(key)) {
    const made = element("tr", undefined, kind);
    const head = element("th");
    head.scope = "row";
    made.append(head);
    for (let at = 0; at < 10; at++) {
      made.append(element("td", "", (at >= 1 && at <= 8 ? "number" : "") + ([3, 6, 7, 8, 9].includes(at) ? " wide" : "")));
    }
    rows.set(key, made);
  }
  return rows.get(key);
}

function fill(made, weight, active, inactive, item) {
  const cells = [weight, active, inactive, item.rates.connections, item.rates.in_packets + item.rates.out_packets,
    item.rates.in_bytes, item.rates.out_bytes, item.counters.connections];
  cells.forEach((value, at) => { made.children[2 + at].textContent = number(value); });
}

function serviceRow(service, hops) {
  const made = row(service.service, "service");
  const head = made.firstChild;
  if (!head.firstChild) {
    const button = element("button");
    button.type = "button";
    button.addEventListener("click", () => {
      if (!open.delete(service.service)) open.add(service.service);
      drawServices();
    });
    head.append(button, element("small"));
    made.lastChild.append(chart());
  }
  const [button, remark] = head.children;
  button.textContent = service.service;
  button.setAttribute("aria-expanded", String(open.has(service.service)));
  const more = [service.scheduler].concat(service.persistence ? ["persistent " + service.persistence.timeout_s + " s"] : []);
  remark.textContent = " " + more.join(", ");
  const usable = service.servers.filter((server) => isUsable(server, hops)).length;
  const state = made.children[1];
  state.textContent = service.servers.length === 0 ? "no servers" : usable + " of " + service.servers.length + " usable";
  state.className = usable === 0 ? "bad" : usable === service.servers.length ? "good" : "";
  const sum = (of) => service.servers.reduce((sum, server) => sum + of(server), 0);
  fill(made, sum((server) => server.weight), sum((server) => server.active_connections),
    sum((server) => server.inactive_connections), service);
  const points = trails.get("service " + service.service) || [0];
  draw(made.lastChild.firstChild, points, "packets a second");
  return made;
}

function serverRow(server, hops) {
  const made = row(server.service + " " + server.server, "server");
  const head = made.firstChild;
  if (!head.firstChild) head.append(element("span"), element("small"));
  head.firstChild.textContent = server.server;
  head.lastChild.textContent = " " + server.forward + (server.tunnel ? " " + server.tunnel.kind : "");
  const [words, className] = hopWords(hops.get(server.address));
  made.children[1].textContent = words;
  made.children[1].className = className;
  fill(made, server.weight, server.active_connections, server.inactive_connections, server);
  return made;
}

function drawServices() {
  if (!latest) return;
  const hops = hopsOf(latest.status);
  const wanted = byId("filter").value.trim().toLowerCase();
  const has = (service) => service.service.includes(wanted) || service.servers.some((server) => server.server.includes(wanted));
  const of = {
    connections: (service) => service.rates.connections,
    packets: (service) => service.rates.in_packets + service.rates.out_packets,
    active: (service) => service.servers.reduce((sum, server) => sum + server.active_connections, 0),
  }[byId("sort").value];
  const all = latest.services.services;
  let found = all.filter(has);
  if (of) found = found.slice().sort((one, other) => of(other) - of(one));
  const shown = found.slice(0, MOST_SERVICES);
  byId("shown").textContent = shown.length < all.length ? shown.length + " of " + all.length : "";
  byId("none").hidden = all.length > 0;
  const list = [];
  for (const service of shown) {
    list.push(serviceRow(service, hops));
    if (open.has(service.service)) service.servers.forEach((server) => list.push(serverRow(server, hops)));
  }
  arrange(byId("services"), list);
}

// Moves only what is in the wrong place: what is moved loses the focus.
function arrange(parent, list) {
  list.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] || null);
  });
  while (parent.children.length > list.length) parent.lastChild.remove();
}

function rate(key, value, seconds) {
  const before = last && last.counts.get(key);
  return before === undefined || before === null || value < before ? 0 : (value - before) / seconds;
}

function drawReasons(reasons, counts, seconds) {
  const happened = reasons.reasons.filter((reason) => reason.packets > 0);
  let dropped = 0;
  const list = happened.map((reason) => {
    const key = "reason " + reason.reason;
    counts.set(key, reason.packets);
    // What was not there at the last look has begun at 0.
    const now = last && !last.counts.has(key) ? reason.packets / seconds : rate(key, reason.packets, seconds);
    if (reason.fate === "drop") dropped += now;
    const made = rows.get(key) || element("tr");
    if (!rows.has(key)) {
      made.append(element("th", reason.reason), element("td"), element("td", "", "number"), element("td", "", "number"));
      made.firstChild.scope = "row";
      rows.set(key, made);
    }
    made.children[1].textContent = FATES[reason.fate] || reason.fate;
    made.children[1].className = reason.fate === "drop" ? "bad" : "";
    made.children[2].textContent = exactly(reason.packets);
    made.children[3].textContent = number(now);
    return made;
  });
  arrange(byId("reasons"), list);
  byId("no-reasons").hidden = happened.length > 0;
  card("dropped", "Dropped packets a second", dropped, true);
}

function drawWarnings(services, status) {
  const hops = hopsOf(status);
  const list = [];
  for (const one of status.interfaces) {
    if (one.mode === "generic") list.push(one.name + " runs in generic mode: several times slower than native");
    if (one.mode === "gone") list.push(one.name + " is gone: no packet comes in by it until it is back");
  }
  const none = services.services.filter((service) => service.servers.length > 0 && !service.servers.some((server) => isUsable(server, hops)));
  none.slice(0, 10).forEach((service) => list.push("no server of " + service.service + " may get new connections"));
  const unknown = status.next_hops.filter((hop) => hop.state === "unknown");
  unknown.slice(0, 10).forEach((hop) => list.push("no way to server " + hop.server + ": nobody answers ARP or NDP, or there is no route"));
  const more = Math.max(0, none.length - 10) + Math.max(0, unknown.length - 10);
  if (more > 0) list.push("and " + more + " more of these");
  if (status.is_pressed) list.push("some new connections find no place in the table and go by hash");
  if (status.unsaved) list.push("the configuration is not saved: " + status.unsaved);
  list.push(...status.only_kept);
  const had = Array.from(byId("warning-list").children, (child) => child.textContent);
  if (had.join("\n") !== list.join("\n")) byId("warning-list").replaceChildren(...list.map((words) => element("li", words)));
  byId("warnings").hidden = list.length === 0;
  return list.length;
}

function drawTables(status) {
  for (const table of status.tables) {
    let made = byId("table-" + table.family);
    if (!made) {
      made = element("figure", undefined, "card");
      made.id = "table-" + table.family;
      const meter = element("meter");
      // A table that holds what was asked for is two fifths full.
      [meter.low, meter.high, meter.optimum] = [0.32, 0.4, 0];
      made.append(element("figcaption"), meter, element("small"));
      byId("tables").append(made);
    }
    const name = table.family === "ipv4" ? "IPv4" : "IPv6";
    made.children[0].textContent = name + " connections: " + exactly(table.connections) + ", half open " + exactly(table.half_open);
    const part = table.most_places ? table.entries / table.most_places : 0;
    made.children[1].value = part;
    made.children[1].setAttribute("aria-label", name + " table, filled to " + (100 * part).toFixed(1) + " %");
    made.children[2].textContent = exactly(table.entries) + " entries in " + exactly(table.places) + " places" +
      (table.is_growing ? ", growing" : "") + ", at most " + exactly(table.most_places);
  }
}

function span(seconds) {
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / size);
    if (count > 0) return count + " " + unit + (count > 1 ? "s" : "");
  }
  return Math.floor(seconds) + " s";
}

function drawDirector(status) {
  const pairs = status.interfaces.map((one) =>
    ["interface", one.name + ", " + one.mode + " XDP" + (one.program === null ? "" : ", program " + one.program)]);
  const known = status.next_hops.filter((hop) => hop.state !== "unknown").length;
  pairs.push(["next hops", known + " of " + status.next_hops.length + " known"]);
  pairs.push(["configuration", status.configuration.generation + " changes since the daemon has begun, " +
    (status.unsaved ? "not saved" : "saved")]);
  pairs.push(["daemon", "lbxdp " + status.lbxdp + ", for " + span(status.uptime_s)]);
  if (status.repaired > 0) pairs.push(["repaired", status.repaired + " rows that somebody else had written to"]);
  byId("director").replaceChildren(...pairs.flatMap(([name, words]) => [element("dt", name), element("dd", words)]));
}

async function ask(name) {
  const answer = await fetch("api/v1/" + name, { cache: "no-store" });
  if (!answer.ok) throw new Error("the daemon answers " + answer.status);
  const document = await answer.json();
  if (document.version !== 1) throw new Error("the daemon speaks another version: load this page again");
  return document;
}

function say(words, isBad) {
  byId("state").textContent = words;
  byId("state").className = isBad ? "bad" : "";
}

async function refresh() {
  const begun = performance.now();
  const [services, status, reasons] = await Promise.all(["services", "status", "reasons"].map(ask));
  const seconds = last ? (begun - last.begun) / 1000 : 1;
  const counts = new Map();
  latest = { services, status };
  byId("instance").textContent = status.instance;
  document.title = "lbxdp " + status.instance;
  const rates = status.rates;
  card("connections", "New connections a second", rates.connections);
  card("packets", "Packets a second, both ways", rates.in_packets + rates.out_packets);
  card("bytes", "Bytes a second, both ways", rates.in_bytes + rates.out_bytes);
  for (const service of services.services) {
    trail("service " + service.service, service.rates.in_packets + service.rates.out_packets);
  }
  drawServices();
  drawReasons(reasons, counts, seconds);
  const warnings = drawWarnings(services, status);
  drawTables(status);
  drawDirector(status);
  forget(services);
  last = { begun, counts };
  say(warnings === 0 ? "all is well" : warnings === 1 ? "one thing is to be looked after" : warnings + " things are to be looked after", warnings > 0);
  return performance.now() - begun;
}

// Services and servers that are gone are not remembered.
function forget(services) {
  const there = new Set();
  for (const service of services.services) {
    there.add(service.service).add("service " + service.service);
    service.servers.forEach((server) => there.add(service.service + " " + server.server));
  }
  for (const key of trails.keys()) if (key.startsWith("service ") && !there.has(key)) trails.delete(key);
  for (const key of rows.keys()) if (!key.startsWith("reason ") && !there.has(key)) rows.delete(key);
}

async function live() {
  let took = 0;
  if (!paused && !document.hidden) {
    try {
      took = await refresh();
    } catch (error) {
      say("not up to date: " + error.message, true);
    }
  }
  setTimeout(live, Math.max(EVERY_MS, LEAST_PAUSE * took));
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").textContent = paused ? "Go on" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) say("paused", false);
});
byId("filter").addEventListener("input", drawServices);
byId("sort").addEventListener("change", drawServices);
live();
