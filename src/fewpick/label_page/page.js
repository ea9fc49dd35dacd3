// The labelling page. Changes are shown at once, queued, and saved by the server one by one; its
// responses hold the contents of the files.

import {View} from "./view.js";

const $ = (selector) => document.querySelector(selector);
const COLOURS = {marks: "#56B4E9", negatives: "#D55E00", proposal: "#F0E442", areas: "#009E73", tile: "#FFFFFF"};
const LOWPASS = [0, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4];  // of a diameter
const NEAR = 9;  // CSS px within which a click always hits a mark, however small the diameter
const DRAGGED = 6;  // a press that moves this many CSS px is a drag
const POLL = 1500;  // ms

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (v) => v.toString(36)).join("");
const load = random();
const client = sessionStorage.getItem("client") || random();
sessionStorage.setItem("client", client);

const state = {
  session: null, version: 0, counted: 0, current: -1, labels: new Map(), proposals: new Map(), diameter: null,
  threshold: null, cross: null, corner: null, tool: null, drag: null, hidden: false, inverted: false,
  tile: null, tiles: [], queue: [], number: 0, alive: true, visited: 0,
};
const image = $("#image"), marks = $("#marks"), stage = $("#stage");
let asked = false;
const redraw = () => { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); }); } };
const view = new View(image, redraw);
window.page = {state, view};  // for the tests and the console

// ---------------------------------------------------------------------------------- the server

class Refused extends Error {}
class Gone extends Error {}

async function ask(path, message) {
  let answer;
  try {
    answer = await fetch(path, message === undefined ? {} : {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(message),
    });
  } catch {
    throw new Gone("The server does not respond. Check that fewpick label is still running and that the tunnel is open.");
  }
  if (answer.status === 403) {
    throw new Gone("fewpick label was restarted: open the new address it printed.");
  }
  const held = await answer.json().catch(() => ({error: `The server failed (${answer.status}); see its terminal.`, retry: true}));
  if (answer.ok) return held;
  if (held.retry) throw new Gone(held.error);
  throw new Refused(held.error);
}

const storeKey = () => `fewpick-label ${state.session.file} ${load}`;

function store() {
  const changes = state.queue.filter((step) => step.path === "api/change").map((step) => step.message);
  try {
    if (changes.length) localStorage.setItem(storeKey(), JSON.stringify({time: Date.now(), changes}));
    else localStorage.removeItem(storeKey());
  } catch { /* Storage may be full or disabled; the queue is still kept in this window. */ }
}

// Take over changes from a window that was closed before they could be saved.
function adopt() {
  const prefix = `fewpick-label ${state.session.file} `;
  let found = 0;
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(prefix)) continue;
    const held = JSON.parse(localStorage.getItem(key));
    if (Date.now() - held.time < 10000 && state.queue.length === 0 && key !== storeKey()) {
      setTimeout(adopt, 11000);
      continue;
    }
    for (const message of held.changes) {
      state.queue.push({path: "api/change", message});
      found += 1;
    }
    localStorage.removeItem(key);
  }
  if (found) {
    say(`${found} ${found === 1 ? "change" : "changes"} from an earlier window had not been saved; saving now.`);
    store();
    flush();
  }
}

let flushing = false;
async function flush() {
  if (flushing) return;
  flushing = true;
  try {
    while (state.queue.length) {
      const {path, message} = state.queue[0];
      let answer = null;
      try {
        answer = await ask(path, message);
        alarm(null);
      } catch (error) {
        if (error instanceof Gone) {
          alarm(`${error.message} ${state.queue.length} not saved yet.`);
          setTimeout(flush, 2000);
          return;
        }
        say(error.message);
        await refresh(message.micrograph);
      }
      state.queue.shift();
      store();
      if (answer) take(path, answer);
    }
  } finally {
    flushing = false;
    showSaved();
  }
}

function take(path, answer) {
  if (answer.nothing) {
    say(path === "api/undo" ? "Nothing to undo." : "Nothing to redo.");
  } else if (answer.labels) {
    const waits = state.queue.some((step) => numberOf(step.message.micrograph) === answer.micrograph);
    if (!waits) setLabels(answer.micrograph, answer.labels);
    if (path !== "api/change" && answer.micrograph !== state.current) open(answer.micrograph);
  }
  showTotals(answer);
}

const numberOf = (name) => state.session.micrographs.findIndex((m) => m.name === name);

async function refresh(name) {
  const index = numberOf(name);
  if (index < 0) return;
  try {
    const answer = await ask(`api/micrographs/${index}`);
    setLabels(index, answer);
    showTotals(answer);
  } catch (error) { say(error.message); }
}

async function poll() {
  try {
    const answer = await ask(`api/changes?since=${state.version}`);
    if (!state.queue.length) {
      alarm(null);
      state.version = answer.version;
      for (const [index, labels] of Object.entries(answer.changed)) setLabels(Number(index), labels);
      showTotals(answer);
    }
    if (answer.notices.length) say(answer.notices.at(-1));
  } catch (error) {
    alarm(state.queue.length ? `${error.message} ${state.queue.length} not saved yet.` : error.message);
  }
  setTimeout(poll, POLL);
}

// ------------------------------------------------------------------------------------- changes

function change(add, remove = {}) {
  if (state.current < 0) return;
  const micrograph = state.session.micrographs[state.current].name;
  const labels = current();
  for (const kind of ["marks", "negatives", "areas"]) {
    for (const thing of remove[kind] || []) {
      labels[kind] = labels[kind].filter((held) => String(held) !== String(thing));
    }
    labels[kind] = labels[kind].concat(add[kind] || []);
  }
  enqueue("api/change", {client, load, number: state.number++, micrograph, add, remove});
  setCounts(state.current);
  hint();
  redraw();
}

function enqueue(path, message) {
  state.queue.push({path, message});
  store();
  showSaved();
  flush();
}

const undo = () => enqueue("api/undo", {client, load, number: state.number++});
const redo = () => enqueue("api/redo", {client, load, number: state.number++});

const current = () => state.labels.get(state.current) || {marks: [], negatives: [], areas: []};
const round = (value) => Math.round(value * 10) / 10;
const radius = () => (state.diameter || 0) / 2;

function inImage(x, y) {
  const {nx, ny} = state.session.micrographs[state.current];
  return x >= -0.5 && y >= -0.5 && x <= nx - 0.5 && y <= ny - 0.5;
}

function clipped(x, y) {
  const {nx, ny} = state.session.micrographs[state.current];
  return [round(Math.min(Math.max(x, 0), nx - 1)), round(Math.min(Math.max(y, 0), ny - 1))];
}

// The nearest mark, negative or proposal, as {kind, thing}; null if nothing is near.
function at(x, y) {
  const reach = Math.max(radius(), NEAR / view.zoom);
  let best = null, least = reach;
  const look = (kind, things) => {
    for (const thing of things) {
      const distance = Math.hypot(thing[0] - x, thing[1] - y);
      if (distance < least) { best = {kind, thing}; least = distance; }
    }
  };
  look("marks", current().marks);
  look("negatives", current().negatives);
  look("proposal", visible());
  return best;
}

function click(x, y) {
  if (!inImage(x, y)) return;
  const found = at(x, y);
  if (!found) change({marks: [clipped(x, y)]});
  else if (found.kind === "proposal") change({marks: [found.thing.slice(0, 2)]});
  else change({}, {[found.kind]: [found.thing]});
}

function deny(x, y) {
  if (!inImage(x, y)) return;
  const found = at(x, y);
  if (!found) change({negatives: [clipped(x, y)]});
  else if (found.kind === "proposal") change({negatives: [found.thing.slice(0, 2)]});
  else if (found.kind === "marks") change({negatives: [found.thing]}, {marks: [found.thing]});
  else change({}, {negatives: [found.thing]});
}

function remove(x, y) {
  const found = at(x, y);
  const area = current().areas.find(([x0, y0, x1, y1]) => x0 <= x && x < x1 && y0 <= y && y < y1);
  if (found && found.kind !== "proposal") change({}, {[found.kind]: [found.thing]});
  else if (area) change({}, {areas: [area]});
  else say("Nothing to remove here.");
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
const within = (a, b) => a[0] >= b[0] && a[1] >= b[1] && a[2] <= b[2] && a[3] <= b[3];

// Mark an area as done; smaller ones inside it become part of it.
function finish(xa, ya, xb, yb) {
  const {nx, ny} = state.session.micrographs[state.current];
  const clip = (value, most) => Math.min(Math.max(Math.round(value + 0.5), 0), most);
  const area = [clip(Math.min(xa, xb), nx), clip(Math.min(ya, yb), ny), clip(Math.max(xa, xb), nx), clip(Math.max(ya, yb), ny)];
  if (Math.min(area[2] - area[0], area[3] - area[1]) < Math.max(radius(), 2)) {
    say("This area is smaller than a particle; drag farther.");
    return false;
  }
  return addArea(area);
}

function addArea(area) {
  const inner = current().areas.filter((held) => within(held, area));
  const crossed = current().areas.find((held) => overlap(held, area) && !within(held, area));
  if (crossed) {
    say(within(area, crossed) ? "This area is already finished." : "This area overlaps a finished one. Draw next to it, or remove it first (click its ×).");
    return false;
  }
  change({areas: [area]}, {areas: inner});
  const inside = current().marks.filter(([x, y]) => x >= area[0] && y >= area[1] && x < area[2] && y < area[3]);
  say(`Finished: ${inside.length} ${inside.length === 1 ? "particle" : "particles"} inside; everything else inside counts as background.`);
  return true;
}

// ----------------------------------------------------------------------------------- proposals

function threshold() {
  const held = state.proposals.get(state.current);
  return state.threshold ?? (held ? held.threshold : 0);
}

// Proposals above the threshold that are neither labelled nor in a finished area.
function visible() {
  const held = state.proposals.get(state.current);
  if (!held || !$("#show").checked) return [];
  const {marks, negatives, areas} = current();
  const reach = Math.max(radius(), 2), cell = 2 * reach, grid = new Map();
  for (const point of [...marks, ...negatives]) {
    const key = `${Math.floor(point[0] / cell)} ${Math.floor(point[1] / cell)}`;
    if (!grid.has(key)) grid.set(key, []);
    grid.get(key).push(point);
  }
  const near = ([x, y]) => {
    const column = Math.floor(x / cell), row = Math.floor(y / cell);
    for (let i = -1; i <= 1; i++) {
      for (let j = -1; j <= 1; j++) {
        for (const point of grid.get(`${column + i} ${row + j}`) || []) {
          if (Math.hypot(point[0] - x, point[1] - y) < reach) return true;
        }
      }
    }
    return false;
  };
  const done = ([x, y]) => areas.some(([x0, y0, x1, y1]) => x0 <= x && x < x1 && y0 <= y && y < y1);
  return held.proposals.filter((p) => p[2] >= threshold() && !done(p) && !near(p));
}

async function propose(index) {
  if (state.proposals.has(index)) return showProposals();
  $("#proposer").textContent = "searching …";
  try {
    const held = await ask(`api/micrographs/${index}/proposals`);
    state.proposals.set(index, held);
  } catch (error) {
    $("#proposer").textContent = "none";
    if (!(error instanceof Gone)) say(error.message);
    return;
  }
  if (index === state.current) showProposals();
}

function showProposals() {
  const held = state.proposals.get(state.current);
  if (!held) return;
  $("#proposer").textContent = held.proposals.length || state.diameter ? held.name : `${held.name}, once the diameter is set`;
  const scores = held.proposals.map((p) => p[2]);
  const low = Math.min(...scores, held.threshold), high = Math.max(...scores, held.threshold);
  const slider = $("#threshold");
  slider.min = low; slider.max = high; slider.step = (high - low) / 200 || 1;
  slider.value = threshold();
  $("#threshold-value").textContent = threshold().toFixed(2);
  redraw();
}

function setThreshold(value) {
  state.threshold = value;
  $("#threshold").value = value;
  $("#threshold-value").textContent = value.toFixed(2);
  redraw();
}

function decideAll(kind) {
  const points = visible().map((p) => p.slice(0, 2));
  if (!points.length) return say("No proposals are shown.");
  change({[kind]: points});
  say(`${points.length} ${points.length === 1 ? "proposal" : "proposals"} ${kind === "marks" ? "accepted" : "rejected"}. Undo reverts this.`);
}

// Go to the next or previous proposal, in rows from the top.
function stepProposal(direction) {
  const rows = Math.max(2 * radius(), 20 / view.zoom);
  const order = visible().map((p) => ({p, row: Math.floor(p[1] / rows)})).sort((a, b) => a.row - b.row || a.p[0] - b.p[0]).map(({p}) => p);
  if (!order.length) return say("No proposals are shown.");
  const key = (p) => Math.floor(p[1] / rows) * 1e7 + p[0];
  const here = state.cross ? key(state.cross) : -1;
  const next = direction > 0 ? order.find((p) => key(p) > here + 1e-6) || order[0] : order.findLast((p) => key(p) < here - 1e-6) || order.at(-1);
  setCross(next[0], next[1]);
}

// ------------------------------------------------------------------------------------- the tile

async function nextTile() {
  $("#next").disabled = true;
  say("Searching for the tile whose labels would help most …");
  try {
    const tile = await ask("api/next", {});
    if (tile.micrograph === null) return say("All tiles have been labelled or shown.");
    state.tiles.push(tile);
    state.visited = state.tiles.length - 1;
    await goToTile(tile);
    const many = tile.total ? ` Chosen from ${tile.ready} of ${tile.total} micrographs.` : "";
    say(tile.doubt === null ? "No model: showing a tile from the micrograph with the fewest labels." : `About ${tile.doubt.toFixed(0)} disputed particles here, ${tile.particles} detected.${many}`);
  } catch (error) {
    say(error.message);
  } finally { $("#next").disabled = false; }
}

// Whether an unfinished tile is shown.
const tileOpen = () => state.tile && state.tile.micrograph === state.current && !current().areas.some((area) => within(state.tile.area, area));

async function goToTile(tile) {
  if (tile.micrograph !== state.current) await open(tile.micrograph);
  state.tile = tile;
  view.frame(tile.area);
  const [x0, y0, x1, y1] = tile.area;
  setCross((x0 + x1) / 2, (y0 + y1) / 2, false);
  state.cross = null;
  hint();
  redraw();
}

function backTile() {
  if (state.visited < 1) return say("There is no previous tile.");
  state.visited -= 1;
  goToTile(state.tiles[state.visited]);
}

function finishTile() {
  if (!state.tile || state.tile.micrograph !== state.current) return say("Go to a tile first (n).");
  if (addArea(state.tile.area)) nextTile();
}

// --------------------------------------------------------------------------------- what is shown

async function open(index) {
  if (index < 0 || index >= state.session.micrographs.length) return;
  const held = state.session.micrographs[index];
  state.current = index;
  state.tile = state.corner = state.drag = null;
  state.cross = null;
  $("#name").textContent = `${index + 1} of ${state.session.micrographs.length}`;
  $("#name").title = held.name;
  for (const row of document.querySelectorAll("#list button")) row.setAttribute("aria-current", String(Number(row.dataset.index) === index));
  $(`#list button[data-index="${index}"]`).scrollIntoView({block: "nearest"});
  $("#previous").disabled = index === 0;
  $("#following").disabled = index === state.session.micrographs.length - 1;
  $("#proposer").textContent = "…";
  $("#broken").hidden = true;
  view.image = null;
  redraw();
  let answer;
  try {
    answer = await ask(`api/micrographs/${index}`);
  } catch (error) { return say(error.message); }
  if (index !== state.current) return;
  if (!state.queue.some((step) => step.message.micrograph === held.name)) setLabels(index, answer);
  if (answer.error) {
    held.error = answer.error;
    $("#broken").textContent = `This micrograph cannot be shown. ${answer.error}`;
    $("#broken").hidden = false;
    $("#proposer").textContent = "none";
    setCounts(index);
    return redraw();
  }
  view.show({index, nx: held.nx, ny: held.ny, levels: held.levels, tile: state.session.tile});
  setLowpass();
  hint();
  redraw();
  propose(index);
  // Have the server read the next micrograph in advance.
  const following = state.session.micrographs[index + 1];
  if (following && !following.error) setTimeout(() => fetch(`tiles/${index + 1}/0/${following.levels - 1}/0/0`).catch(() => {}), 700);
}

function setLabels(index, labels) {
  const known = state.labels.get(index);
  if (known && known.at > labels.at) return;
  state.labels.set(index, {marks: labels.marks, negatives: labels.negatives, areas: labels.areas, at: labels.at});
  setCounts(index);
  if (index === state.current) { hint(); redraw(); }
}

function setCounts(index) {
  const held = state.session.micrographs[index], labels = state.labels.get(index);
  if (labels) held.counts = [labels.marks.length, labels.negatives.length, labels.areas.length];
  const row = $(`#list button[data-index="${index}"]`);
  if (!row) return;
  row.classList.toggle("error", Boolean(held.error));
  const [n, bad, areas] = held.counts;
  row.lastChild.textContent = held.error ? "cannot be read" : [n || "", bad ? `×${bad}` : "", areas ? `▣${areas}` : ""].filter(Boolean).join(" ");
  row.title = held.error || `${held.name}: ${n} particles, ${bad} non-particles, ${areas} finished areas`;
}

function showTotals({totals, diameter, version}) {
  if (version < state.counted) return;  // a late response, older than what is shown
  state.counted = version;
  const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
  $("#counts").textContent = `${plural(totals.marks, "particle", "particles")} on ${plural(totals.micrographs, "micrograph", "micrographs")}, ${plural(totals.negatives, "non-particle", "non-particles")}, ${plural(totals.areas, "finished area", "finished areas")}`;
  $("#worth").textContent = totals.worth;
  if (diameter !== state.diameter) {
    state.diameter = diameter;
    state.proposals.clear();
    if (document.activeElement !== $("#diameter")) $("#diameter").value = diameter ?? "";
    setLowpass();
    hint();
    if (state.current >= 0 && view.image) propose(state.current);
  }
  showSaved();
}

function showSaved() {
  const n = state.queue.length;
  $("#saved").textContent = n ? `${n} not saved yet` : "saved";
  $("#saved").dataset.state = n ? "waiting" : "saved";
}

let silence = 0;
function say(text) {
  $("#message").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { $("#message").textContent = ""; }, 9000);
}

function alarm(text) {
  $("#alarm").textContent = text || "";
  $("#alarm").hidden = !text;
}

function hint() {
  let text = "";
  if (state.tool === "diameter") text = "Drag from one edge of a particle to the other.";
  else if (state.corner) text = "Move to the opposite corner and press a again; Esc cancels.";
  else if (state.diameter === null) text = "How large is a particle? Press d and drag across one.";
  else if (tileOpen()) text = "Mark every particle inside the dashed frame, then press f.";
  $("#hint").textContent = text;
  $("#hint").hidden = !text;
  $("#finish").disabled = !tileOpen();
  $("#measure").setAttribute("aria-pressed", String(state.tool === "diameter"));
}

function draw() {
  const labelled = marks.getContext("2d");
  if (marks.width !== image.width || marks.height !== image.height) {
    marks.width = image.width;
    marks.height = image.height;
  }
  const contrast = 2 ** Number($("#contrast").value);
  image.style.filter = `contrast(${contrast.toFixed(2)})${state.inverted ? " invert(1)" : ""}`;
  view.draw();
  labelled.setTransform(1, 0, 0, 1, 0, 0);
  labelled.clearRect(0, 0, marks.width, marks.height);
  if (!view.image) return;
  labelled.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  const shown = visible();
  $("#n-accept").textContent = $("#n-reject").textContent = shown.length;
  $("#accept").disabled = $("#reject").disabled = !shown.length;
  if (!state.hidden) {
    drawAreas(labelled);
    drawCircles(labelled, shown, COLOURS.proposal, [4, 3]);
    drawCircles(labelled, current().marks, COLOURS.marks, []);
    drawCrosses(labelled, current().negatives);
  }
  drawTools(labelled);
}

function rectangle(context, [x0, y0, x1, y1]) {
  const [sx, sy] = view.toScreen(x0 - 0.5, y0 - 0.5);
  return [sx, sy, (x1 - x0) * view.zoom, (y1 - y0) * view.zoom];
}

function drawAreas(context) {
  context.lineWidth = 2;
  context.setLineDash([]);
  for (const area of current().areas) {
    const [x, y, width, height] = rectangle(context, area);
    context.fillStyle = COLOURS.areas + "26";
    context.fillRect(x, y, width, height);
    context.strokeStyle = COLOURS.areas;
    context.strokeRect(x, y, width, height);
    context.fillStyle = COLOURS.areas;
    context.fillRect(x + width - 16, y, 16, 16);
    context.strokeStyle = "#fff";
    context.beginPath();
    context.moveTo(x + width - 12, y + 4); context.lineTo(x + width - 4, y + 12);
    context.moveTo(x + width - 4, y + 4); context.lineTo(x + width - 12, y + 12);
    context.stroke();
  }
  if (tileOpen()) {
    context.strokeStyle = COLOURS.tile;
    context.setLineDash([8, 6]);
    context.strokeRect(...rectangle(context, state.tile.area));
    context.setLineDash([]);
  }
}

const symbol = () => Math.max(radius() * view.zoom, state.diameter ? 3 : 10);

function drawCircles(context, points, colour, dashes) {
  const r = symbol();
  context.setLineDash(dashes);
  context.strokeStyle = colour;
  context.lineWidth = r > 12 ? 2 : 1.5;
  context.beginPath();
  for (const [x, y] of points) {
    const [sx, sy] = view.toScreen(x, y);
    if (sx < -r || sy < -r || sx > view.width + r || sy > view.height + r) continue;
    context.moveTo(sx + r, sy);
    context.arc(sx, sy, r, 0, 2 * Math.PI);
    if (!dashes.length && r > 6) { context.moveTo(sx + 1, sy); context.arc(sx, sy, 1, 0, 2 * Math.PI); }
  }
  context.stroke();
  context.setLineDash([]);
}

function drawCrosses(context, points) {
  const r = Math.max(symbol() * 0.6, 4);
  context.strokeStyle = COLOURS.negatives;
  context.lineWidth = 2.5;
  context.beginPath();
  for (const [x, y] of points) {
    const [sx, sy] = view.toScreen(x, y);
    context.moveTo(sx - r, sy - r); context.lineTo(sx + r, sy + r);
    context.moveTo(sx + r, sy - r); context.lineTo(sx - r, sy + r);
  }
  context.stroke();
}

function drawTools(context) {
  context.lineWidth = 2;
  if (state.drag && state.drag.moved && state.drag.kind === "area") {
    const {from, to} = state.drag;
    const [ax, ay] = view.toScreen(...from), [bx, by] = view.toScreen(...to);
    context.strokeStyle = COLOURS.areas;
    context.setLineDash([5, 4]);
    context.strokeRect(Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by));
    context.setLineDash([]);
  }
  if (state.drag && state.drag.kind === "diameter") {
    const {from, to} = state.drag;
    const [sx, sy] = view.toScreen((from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
    context.strokeStyle = "#fff";
    context.beginPath();
    context.arc(sx, sy, Math.hypot(from[0] - to[0], from[1] - to[1]) / 2 * view.zoom, 0, 2 * Math.PI);
    context.stroke();
  }
  if (state.corner && state.cross) {
    const [ax, ay] = view.toScreen(...state.corner), [bx, by] = view.toScreen(...state.cross);
    context.strokeStyle = COLOURS.areas;
    context.setLineDash([5, 4]);
    context.strokeRect(Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by));
    context.setLineDash([]);
  }
  if (state.cross) {
    const [sx, sy] = view.toScreen(...state.cross);
    const gap = symbol() * 0.4, length = Math.max(symbol() * 1.3, 12);
    for (const [colour, width] of [["#000", 4], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(sx + dx * gap, sy + dy * gap);
        context.lineTo(sx + dx * length, sy + dy * length);
      }
      context.stroke();
    }
  }
}

// ---------------------------------------------------------------------------------- the picture

function setLowpass() {
  const share = LOWPASS[Number($("#lowpass").value)];
  const size = state.diameter || Math.max(view.image?.nx || 0, view.image?.ny || 0) / 40;
  view.sigma = Math.round(share * size * 100) / 100;
  $("#lowpass-value").textContent = share ? `${view.sigma.toFixed(1)} px` : "none";
  redraw();
}

function slide(selector, by) {
  const slider = $(selector);
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input"));
}

function setCross(x, y, follow = true) {
  [x, y] = clipped(x, y);
  state.cross = [x, y];
  if (follow) view.keepInView(x, y);
  $("#where").textContent = `x ${x.toFixed(0)}, y ${y.toFixed(0)}`;
  redraw();
}

function moveCross(dx, dy, fine) {
  const step = (state.diameter || 20 / view.zoom) * (fine ? 1 / 16 : 1 / 2);
  const [x, y] = state.cross || view.toImage(view.width / 2, view.height / 2);
  setCross(x + dx * step, y + dy * step);
}

async function setDiameter(value) {
  if (!(value > 0)) return say("The diameter must be greater than 0 px.");
  try {
    showTotals(await ask("api/diameter", {diameter: Math.round(value * 10) / 10}));
    $("#diameter").value = state.diameter;
    say(`Particle diameter ${state.diameter} px.`);
  } catch (error) { say(error.message); }
}

function tool(name) {
  state.tool = state.tool === name ? null : name;
  hint();
  redraw();
}

function zoomBy(factor) {
  if (state.cross) view.zoomBy(factor, ...view.toScreen(...state.cross));
  else view.zoomBy(factor);
  redraw();
}

// ------------------------------------------------------------------------------ mouse and keys

const place = (event) => {
  const box = marks.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

marks.addEventListener("contextmenu", (event) => event.preventDefault());
marks.addEventListener("pointerdown", (event) => {
  if (!view.image || state.drag) return;
  stage.focus({preventScroll: true});
  state.cross = null;
  const screen = place(event), from = view.toImage(...screen);
  let kind = "area";
  if (event.button === 1 || event.altKey || event.ctrlKey || event.metaKey) kind = "pan";
  else if (event.button === 2) kind = "deny";
  else if (event.button !== 0) return;
  else if (state.tool === "diameter") kind = "diameter";
  state.drag = {kind, screen, from, to: from, moved: false, id: event.pointerId};
  marks.setPointerCapture(event.pointerId);
  event.preventDefault();
});
marks.addEventListener("pointermove", (event) => {
  if (!view.image) return;
  const screen = place(event), to = view.toImage(...screen);
  $("#where").textContent = inImage(...to) ? `x ${to[0].toFixed(0)}, y ${to[1].toFixed(0)}` : "";
  const drag = state.drag;
  if (!drag || drag.id !== event.pointerId) return;
  if (Math.hypot(screen[0] - drag.screen[0], screen[1] - drag.screen[1]) >= DRAGGED) drag.moved = true;
  if (drag.kind === "pan") {
    view.moveBy(screen[0] - (drag.last || drag.screen)[0], screen[1] - (drag.last || drag.screen)[1]);
    drag.last = screen;
  }
  drag.to = to;
  redraw();
});
marks.addEventListener("pointerup", (event) => {
  const drag = state.drag;
  if (!drag || drag.id !== event.pointerId) return;
  state.drag = null;
  redraw();
  if (!view.image) return;
  const {kind, from, to, moved, screen} = drag;
  if (kind === "diameter") {
    if (!moved) return say("Drag from one edge of the particle to the other.");
    tool("diameter");
    setDiameter(Math.hypot(from[0] - to[0], from[1] - to[1]));
  } else if (kind === "deny") {
    if (!moved) deny(...from);
  } else if (kind === "area") {
    if (moved) return void finish(...from, ...to);
    const closed = current().areas.find((area) => {  // the area whose × was clicked
      const [x, y, width] = rectangle(null, area);
      return !state.hidden && screen[0] >= x + width - 16 && screen[0] <= x + width && screen[1] >= y && screen[1] <= y + 16;
    });
    if (closed) change({}, {areas: [closed]});
    else click(...from);
  }
});
marks.addEventListener("pointercancel", () => { state.drag = null; redraw(); });
marks.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (!view.image) return;
  const amount = event.deltaY || event.deltaX;  // Shift turns the wheel sideways on some systems
  if (event.shiftKey) slide("#contrast", -Math.sign(amount) * 0.2);
  else if (event.altKey) slide("#lowpass", -Math.sign(amount));
  else view.zoomBy(Math.exp(-amount * (event.deltaMode === 1 ? 0.05 : 0.0016)), ...place(event));
  redraw();
}, {passive: false});

const KEYS = {
  ArrowLeft: (fine) => moveCross(-1, 0, fine), ArrowRight: (fine) => moveCross(1, 0, fine),
  ArrowUp: (fine) => moveCross(0, -1, fine), ArrowDown: (fine) => moveCross(0, 1, fine),
  Enter: () => atCross(click), " ": () => atCross(click), x: () => atCross(deny),
  Delete: () => atCross(remove), Backspace: () => atCross(remove),
  a: () => atCross((x, y) => {
    if (!state.corner) state.corner = [x, y];
    else { const [cx, cy] = state.corner; state.corner = null; finish(cx, cy, x, y); }
    hint();
  }),
  Escape: () => { state.corner = state.drag = state.tool = null; hint(); },
  z: undo, y: redo, n: nextTile, b: backTile, f: finishTile,
  j: () => stepProposal(1), k: () => stepProposal(-1),
  PageDown: () => open(state.current + 1), PageUp: () => open(state.current - 1),
  "+": () => zoomBy(1.3), "=": () => zoomBy(1.3), "-": () => zoomBy(1 / 1.3), "0": () => view.fit(),
  "1": () => zoomBy(1 / view.zoom),
  c: () => slide("#contrast", 0.2), C: () => slide("#contrast", -0.2),
  l: () => slide("#lowpass", 1), L: () => slide("#lowpass", -1),
  i: () => { state.inverted = !state.inverted; }, h: () => { state.hidden = !state.hidden; },
  t: () => slide("#threshold", 5 * Number($("#threshold").step)), T: () => slide("#threshold", -5 * Number($("#threshold").step)),
  A: () => decideAll("marks"), R: () => decideAll("negatives"), p: () => $("#show").click(),
  d: () => tool("diameter"), "[": () => setDiameter((state.diameter || 0) / 1.04), "]": () => setDiameter((state.diameter || 0) * 1.04),
  "?": () => $("#help").showModal(),
};
const ALWAYS = new Set(["PageDown", "PageUp", "?", "n", "b", "f", "z", "y", "Escape"]);

function atCross(action) {
  if (!view.image) return;
  if (!state.cross) return say("Press an arrow key first to show the crosshair.");
  action(...state.cross);
}

document.addEventListener("keydown", (event) => {
  if (!state.session || $("#help").open) return;
  const control = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 && control ? event.key.toLowerCase() : event.key;
  const target = event.target;
  if (target.matches("input[type=number]") && key !== "PageDown" && key !== "PageUp") return;
  if (target.matches("button, input") && !(key.length === 1 && key !== " ") && !ALWAYS.has(key)) return;
  let action = KEYS[key];
  if (control) action = key === "z" ? (event.shiftKey ? redo : undo) : key === "y" ? redo : null;
  if (!action || event.altKey) return;
  event.preventDefault();
  if (!view.image && !["PageDown", "PageUp", "?", "n", "b"].includes(key)) return;
  action(event.shiftKey);
  redraw();
});

$("#previous").onclick = () => open(state.current - 1);
$("#following").onclick = () => open(state.current + 1);
$("#undo").onclick = undo;
$("#redo").onclick = redo;
$("#next").onclick = nextTile;
$("#finish").onclick = finishTile;
$("#accept").onclick = () => decideAll("marks");
$("#reject").onclick = () => decideAll("negatives");
$("#measure").onclick = () => tool("diameter");
$("#help-button").onclick = () => $("#help").showModal();
$("#show").onchange = redraw;
$("#threshold").oninput = (event) => setThreshold(Number(event.target.value));
$("#contrast").oninput = redraw;
$("#lowpass").oninput = setLowpass;
$("#diameter").onchange = (event) => setDiameter(Number(event.target.value));
new ResizeObserver(() => { view.resize(); redraw(); }).observe(stage);

async function start() {
  try {
    state.session = await ask("api/session");
  } catch (error) { return alarm(error.message); }
  const {session} = state;
  state.version = session.version;
  state.number = Date.now();
  $("#file").textContent = session.file.split("/").at(-1);
  document.title = `${$("#file").textContent} – fewpick label`;
  $("#file").title = session.file;
  $("#commands").textContent = session.commands.join("\n");
  session.micrographs.forEach((held, index) => {
    const row = document.createElement("button");
    row.dataset.index = index;
    row.append(document.createElement("span"), document.createElement("span"));
    row.firstChild.textContent = held.name;
    row.onclick = () => { open(index); stage.focus(); };
    const item = document.createElement("li");
    item.append(row);
    $("#list").append(item);
    setCounts(index);
  });
  showTotals(session);
  $("#diameter").value = session.diameter ?? "";
  hint();
  adopt();
  stage.focus();
  await open(Math.max(session.micrographs.findIndex((held) => !held.error), 0));
  setTimeout(poll, POLL);
}

start();
