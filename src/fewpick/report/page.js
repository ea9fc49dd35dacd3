"use strict";

const data = JSON.parse(document.getElementById("report-data").textContent);
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const GREY = "#8a929c";
const SVG = "http://www.w3.org/2000/svg";
const MARKS = ["circle", "rect", "triangle", "rectRot", "crossRot", "star"];
const armNames = Object.keys(data.arms);
const colourOf = (arm) => data.arms[arm] || GREY;
const markOf = (arm) => MARKS[armNames.indexOf(arm) % MARKS.length] || "circle";
const percent = (ratio) => (ratio === null ? "no labels used" : `${+(100 * ratio).toPrecision(3)} %`);

Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.font.size = 13;
Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.plugins.legend.position = "bottom";
Chart.defaults.plugins.legend.labels.usePointStyle = true;
Chart.defaults.plugins.legend.labels.boxHeight = 7;
Chart.defaults.plugins.subtitle.padding = { bottom: 8 };
Chart.defaults.plugins.legend.labels.filter = (item) => item.text !== "";

// A dataset may have `intervals`, a list of [low, high] or null, drawn as a band with error bars, and
// a `name` written on its line.
Chart.register({
  id: "bands",
  beforeDatasetsDraw(chart) {
    const { ctx, scales: { x, y }, chartArea } = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(chartArea.left, chartArea.top, chartArea.width, chartArea.height);
    ctx.clip();
    chart.data.datasets.forEach((dataset, index) => {
      if (!chart.isDatasetVisible(index)) return;
      if (dataset.name) {
        const at = [dataset.name, chartArea.right - 6, y.getPixelForValue(dataset.data[0].y) + 14];
        Object.assign(ctx, { font: `12px ${Chart.defaults.font.family}`, textAlign: "right", lineWidth: 4, strokeStyle: "#fff", fillStyle: "#5b6470" });
        ctx.strokeText(...at);
        ctx.fillText(...at);
      }
      if (!dataset.intervals) return;
      const known = dataset.data.map((point, i) => [point, dataset.intervals[i]]).filter((pair) => pair[1]);
      ctx.fillStyle = dataset.borderColor + "22";
      ctx.beginPath();
      known.forEach(([point, [low]], i) => ctx[i ? "lineTo" : "moveTo"](x.getPixelForValue(point.x), y.getPixelForValue(low)));
      [...known].reverse().forEach(([point, [, high]]) => ctx.lineTo(x.getPixelForValue(point.x), y.getPixelForValue(high)));
      ctx.fill();
      ctx.strokeStyle = dataset.borderColor;
      ctx.lineWidth = 1.5;
      for (const [point, [low, high]] of known) {
        const at = x.getPixelForValue(point.x);
        const [bottom, top] = [y.getPixelForValue(low), y.getPixelForValue(high)];
        ctx.beginPath();
        ctx.moveTo(at, bottom);
        ctx.lineTo(at, top);
        for (const end of [bottom, top]) { ctx.moveTo(at - 4, end); ctx.lineTo(at + 4, end); }
        ctx.stroke();
      }
    });
    ctx.restore();
  },
});

const charts = new Map();

/** Draw into `holder` (a .plot), replacing what was there. */
function draw(holder, label, config) {
  charts.get(holder)?.destroy();
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  holder.replaceChildren(canvas);
  charts.set(holder, new Chart(canvas, config));
}

/** Draw a grid of plots, one per entry; `make` returns [label, config]. */
function drawGrid(grid, entries, make) {
  for (const holder of grid.children) { charts.get(holder)?.destroy(); charts.delete(holder); }
  grid.replaceChildren(...entries.map(() => {
    const holder = document.createElement("div");
    holder.className = "plot";
    return holder;
  }));
  entries.forEach((entry, i) => draw(grid.children[i], ...make(entry)));
}

function fill(select, values, text = String) {
  select.replaceChildren(...values.map((value, index) => {
    const option = document.createElement("option");
    option.value = index;
    option.textContent = text(value);
    return option;
  }));
  // Hide a menu with a single option.
  if (values.length < 2) select.closest("label").hidden = true;
  return () => values[select.selectedIndex];
}

function axis(title, more = {}) {
  return { title: { display: true, text: title }, grid: { color: "#eceff2" }, ...more };
}

/* ---- comparison table -------------------------------------------------------------------- */

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const runs = [];  // a mean with the rows of its seeds, which follow it
  for (const row of body.rows) {
    if (row.classList.contains("seed")) runs.at(-1).push(row); else runs.push([row]);
  }
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if ("value" in cell.dataset) return Number(cell.dataset.value);
    return cell.textContent === "" ? null : cell.textContent;
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = runs.some(([row]) => typeof valueOf(row, column) === "number");
    const before = head.getAttribute("aria-sort");
    // On the first click, numbers sort from the largest and names from A.
    const rising = before ? before === "descending" : !numeric;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const order = (a, b) => {
      const [left, right] = [valueOf(a[0], column), valueOf(b[0], column)];
      if (left === null || right === null) return (left === null) - (right === null);
      const sign = typeof left === "number" ? left - right : left.localeCompare(right, "en", { numeric: true });
      return rising ? sign : -sign;
    };
    body.append(...[...runs].sort(order).flat());
  }));
  byId("show-seeds").addEventListener("change", (event) => {
    runs.forEach(([, ...seeds]) => seeds.forEach((row) => { row.hidden = !event.target.checked; }));
  });
}

/* ---- scores ------------------------------------------------------------------------------ */

/** Keep coinciding lines visible: draw the first one wide and the others dashed. */
function apartWhereEqual(datasets, valuesOf) {
  const groups = Map.groupBy(datasets.filter((dataset) => dataset.data.length), (dataset) => JSON.stringify(valuesOf(dataset)));
  for (const [first, ...others] of groups.values()) {
    if (others.length) first.borderWidth *= 2;
    others.forEach((dataset, index) => Object.assign(dataset, { borderDash: [6, 6 + 6 * index] }));
  }
}

function scoreChart(chart) {
  const datasets = armNames.map((arm, index) => {
    const points = chart.points.filter((point) => point.arm === arm).sort((a, b) => a.x - b.x);
    // Shift arms slightly apart, so that error bars do not hide each other.
    const apart = 1.03 ** (index - (armNames.length - 1) / 2);
    return {
      label: points.length ? arm : "",
      data: points.map((point) => ({ ...point, x: point.x * apart, n: point.x })),
      intervals: points.map((point) => (point.low === null ? null : [point.low, point.high])),
      borderColor: colourOf(arm), backgroundColor: colourOf(arm), pointStyle: markOf(arm), pointRadius: 5, borderWidth: 2,
    };
  });
  apartWhereEqual(datasets, ({ data: points }) => points.map(({ n, y }) => [n, y]));
  const budgets = unique(chart.points.map((point) => Math.round(point.x))).sort((a, b) => a - b);
  const [first, last] = [budgets[0] / 1.5, budgets.at(-1) * 1.5];
  const dashes = [[6, 4], [2, 3], [8, 3, 2, 3], [1, 4]];
  chart.levels.forEach((level, index) => datasets.push({
    label: "", name: level.arm, data: [first, last].map((x) => ({ ...level, x, n: null })),
    borderColor: GREY, backgroundColor: GREY, borderDash: dashes[index % dashes.length], borderWidth: 1.5, pointRadius: 0, pointStyle: "line",
  }));
  const share = /F1|precision/.test(chart.title);
  return [chart.title, {
    type: "line",
    data: { datasets },
    options: {
      scales: {
        x: axis("labelled particles", {
          type: "logarithmic", min: first, max: last,
          afterBuildTicks(scale) { scale.ticks = budgets.map((value) => ({ value })); },
          ticks: { callback: (value) => value.toLocaleString("en") },
        }),
        y: axis("", { min: 0, max: share ? 1 : undefined, suggestedMax: 1.1 * Math.max(...chart.points.map((point) => point.high ?? point.y)) }),
      },
      plugins: {
        title: { display: true, text: chart.title },
        tooltip: {
          callbacks: {
            title: ([item]) => (item.raw.n === null ? "" : `${Math.round(item.raw.n).toLocaleString("en")} labelled particles (${percent(item.raw.ratio)})`),
            label: ({ raw }) => `${raw.arm}: ${raw.y.toFixed(3)}${raw.low === null ? "" : ` [${raw.low.toFixed(3)}, ${raw.high.toFixed(3)}]`}`
              + (raw.seeds.length > 1 ? `, seeds ${raw.seeds.map((v) => (v === null ? "-" : v.toFixed(3))).join(", ")}` : ""),
          },
        },
      },
    },
  }];
}

function curveChart(dataset, ratio) {
  const here = data.curves.filter((curve) => curve.dataset === dataset && (curve.ratio === ratio || !(curve.arm in data.arms)));
  const named = new Set();
  const others = unique(here.map((curve) => curve.arm).filter((arm) => !(arm in data.arms)));
  const dashes = [[6, 4], [2, 3], [8, 3, 2, 3], [1, 4]];
  const datasets = here.map((curve) => {
    const other = others.indexOf(curve.arm);
    const label = named.has(curve.arm) ? "" : curve.arm;
    named.add(curve.arm);
    return {
      label, curve, data: curve.x.map((x, i) => ({ x, y: curve.y[i] })),
      borderColor: colourOf(curve.arm), backgroundColor: colourOf(curve.arm), borderWidth: 1.5, pointRadius: 0, pointStyle: "line",
      borderDash: other < 0 ? [] : dashes[other % dashes.length],
    };
  });
  apartWhereEqual(datasets, ({ data: points }) => points);
  // Start the axes just below the lowest marker: from 0, good pickers would all look alike.
  const marks = here.filter((curve) => curve.arm in data.arms && curve.chosen[0] !== null).map((curve) => Math.min(...curve.chosen));
  const least = marks.length ? Math.max(0, Math.floor(10 * (Math.min(...marks) - 0.2)) / 10) : 0;
  for (const curve of here) {
    if (!(curve.arm in data.arms) || curve.chosen[0] === null) continue;
    datasets.push({
      label: "", curve, data: [{ x: curve.chosen[0], y: curve.chosen[1] }], showLine: false,
      borderColor: "#fff", backgroundColor: colourOf(curve.arm), pointStyle: markOf(curve.arm), pointRadius: 7, borderWidth: 1,
    });
  }
  return ["precision against recall", {
    type: "line",
    data: { datasets },
    options: {
      interaction: { mode: "nearest", intersect: false },
      scales: {
        x: axis(`recall within ${data.radius} D`, { type: "linear", min: least, max: 1 }),
        y: axis("precision", { min: least, max: 1 }),
      },
      plugins: {
        legend: { labels: { pointStyleWidth: 34 } },
        tooltip: { callbacks: { title: () => "", label: ({ dataset: { curve }, raw }) => `${curve.arm}, seed ${curve.seed}: recall ${raw.x.toFixed(3)}, precision ${raw.y.toFixed(3)}` } },
      },
    },
  }];
}

/* ---- training ---------------------------------------------------------------------------- */

function trainingChart({ panel, runs }) {
  const several = panel.columns.length > 1;
  const datasets = runs.flatMap((run) => panel.columns.filter((column) => column in run.values).map((column) => ({
    label: several ? `${run.arm}, ${column.replaceAll("_", " ")}` : run.arm,
    data: run.step.map((x, i) => ({ x, y: run.values[column][i] })).filter((point) => point.y !== null),
    borderColor: colourOf(run.arm), backgroundColor: colourOf(run.arm), pointRadius: 0, borderWidth: 1.8, pointStyle: "line",
    borderDash: panel.columns.indexOf(column) ? [5, 4] : [],
  })));
  return [panel.title, {
    type: "line",
    data: { datasets },
    options: {
      interaction: { mode: "nearest", intersect: false },
      scales: { x: axis("step", { type: "linear", min: 0 }), y: axis("", panel.fraction ? { min: 0, max: 1 } : { beginAtZero: true }) },
      plugins: {
        title: { display: true, text: panel.title },
        subtitle: { display: several, text: `solid: ${panel.columns[0].replaceAll("_", " ")}, dashed: ${(panel.columns[1] || "").replaceAll("_", " ")}` },
        legend: { labels: { generateLabels: () => runs.filter((run) => panel.columns.some((c) => c in run.values)).map((run) => ({ text: run.arm, strokeStyle: colourOf(run.arm), fillStyle: colourOf(run.arm), pointStyle: "line", lineWidth: 2 })) }, onClick() {} },
      },
    },
  }];
}

function trainingPlots(ratio, seed) {
  const runs = data.trainings.filter((run) => run.ratio === ratio && run.seed === seed);
  const panels = data.panels.filter((panel) => runs.some((run) => panel.columns.some((column) => column in run.values)));
  drawGrid(byId("training-plots"), panels.map((panel) => ({ panel, runs })), trainingChart);
}

/* ---- gallery ----------------------------------------------------------------------------- */

const ratio = (part, whole) => (whole ? part / whole : 0);

/** Precision, recall and F1 as in fewpick.evaluation.scores.precision_recall_f1. */
function scoresOf({ picks, correct, particles }) {
  return {
    precision: ratio(correct, picks), recall: ratio(correct, particles), f1: ratio(2 * correct, picks + particles),
  };
}

class Gallery {
  constructor({ seed, micrographs, runs }) {
    Object.assign(this, { seed, micrographs, runs });
    this.svg = byId("picture");
    this.slider = byId("threshold");
    this.ratioOf = null;
    this.arms = unique(runs.map((run) => run.arm));
    this.arm = data.opens ? data.opens.arm : this.arms[0];
    this.micrograph = fill(byId("micrograph"), micrographs, ({ dataset, name }) => (unique(micrographs.map((m) => m.dataset)).length > 1 ? `${dataset}: ${name}` : name));
    byId("arm-buttons").replaceChildren(...this.arms.map((arm) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = arm;
      button.addEventListener("click", () => { this.arm = arm; this.choose(); });
      return button;
    }));
    this.share = fill(byId("share"), unique(runs.map((run) => run.ratio)).filter((r) => r !== null), percent);
    const share = [...byId("share").options].find((option) => data.opens && option.textContent === percent(data.opens.ratio));
    if (share) byId("share").value = share.value;
    byId("share").addEventListener("change", () => this.choose());
    byId("micrograph").addEventListener("change", () => {
      if (this.dataset !== this.micrograph().dataset) this.slider.value = this.own();
      this.view = null; this.sweep(); this.show();
    });
    this.slider.addEventListener("input", () => this.update());
    byId("threshold-chosen").addEventListener("click", () => { this.slider.value = this.own(); this.update(); });
    for (const kind of ["found", "false", "missed"]) {
      byId(`show-${kind}`).addEventListener("change", () => this.update());
      document.querySelector(`.kinds .${kind}`).style.setProperty("--kind", data.colours[kind]);
    }
    this.zooming();
    this.choose();
  }

  /** Switch to the chosen arm and labelled fraction, at the run's own threshold. */
  choose() {
    const mine = this.runs.filter((run) => run.arm === this.arm);
    this.run = mine.find((run) => run.ratio === null || run.ratio === this.share()) || mine[0];
    [...byId("arm-buttons").children].forEach((button) => button.setAttribute("aria-pressed", button.textContent === this.arm));
    this.slider.max = this.run.stops.length - 1;
    this.slider.value = this.own();
    this.sweep();
    this.show();
  }

  /** The run's own threshold; that of the shown data set, if each has its own. */
  own() {
    this.dataset = this.micrograph().dataset;
    return this.run.own[this.dataset] ?? this.run.chosen;
  }

  /** Draw the micrograph and all candidates; `update` decides which of them are visible. */
  show() {
    const shown = this.micrograph();
    const at = this.micrographs.indexOf(shown);
    // Another program may not have been run on this micrograph.
    this.covered = this.run.picks[at] !== null;
    this.picks = this.run.picks[at] || { xy: [], rank: [], true: [], found: [] };
    this.circles = { picks: [], truth: [] };
    const image = document.createElementNS(SVG, "image");
    for (const [key, value] of Object.entries({ href: shown.image, width: shown.width, height: shown.height })) image.setAttribute(key, value);
    const group = document.createElementNS(SVG, "g");
    const circle = (list, i, to) => {
      const node = document.createElementNS(SVG, "circle");
      node.setAttribute("cx", list[2 * i]);
      node.setAttribute("cy", list[2 * i + 1]);
      node.setAttribute("r", shown.disc);
      group.append(node);
      to.push(node);
      return node;
    };
    this.picks.found.forEach((_, i) => circle(shown.truth, i, this.circles.truth).setAttribute("class", "missed"));
    this.picks.rank.forEach((_, i) => circle(this.picks.xy, i, this.circles.picks).setAttribute("class", this.picks.true[i] ? "found" : "false"));
    for (const node of group.children) node.setAttribute("stroke", data.colours[node.getAttribute("class")]);
    if (shown.area) {
      const [x0, y0, x1, y1] = shown.area;
      const rect = document.createElementNS(SVG, "rect");
      for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(key, value);
      group.append(rect);
    }
    this.svg.replaceChildren(image, group);
    this.svg.style.aspectRatio = `${shown.width} / ${shown.height}`;
    this.zoomTo(this.view || { x: 0, y: 0, width: shown.width });
    this.update();
  }

  /** Counts at each stop over the test micrographs of the shown data set that the run covers. */
  pooled() {
    const none = this.run.stops.map(() => 0);
    return this.run.pooled[this.micrograph().dataset] || { micrographs: 0, truth: 0, picks: none, true: none };
  }

  /** Counts on the shown micrograph, and on all test micrographs of its data set. */
  counts(stop) {
    const { rank, true: isTrue, found } = this.picks;
    const pooled = this.pooled();
    return {
      shown: { picks: rank.filter((r) => r >= stop).length, correct: rank.filter((r, i) => r >= stop && isTrue[i]).length, particles: found.length },
      pooled: { picks: pooled.picks[stop], correct: pooled.true[stop], particles: pooled.truth },
    };
  }

  update() {
    const stop = Number(this.slider.value);
    const visible = Object.fromEntries(["found", "false", "missed"].map((kind) => [kind, byId(`show-${kind}`).checked]));
    const { rank, true: isTrue, found } = this.picks;
    this.circles.picks.forEach((node, i) => { node.style.display = rank[i] >= stop && visible[isTrue[i] ? "found" : "false"] ? "" : "none"; });
    this.circles.truth.forEach((node, i) => { node.style.display = found[i] < stop && visible.missed ? "" : "none"; });
    const both = this.counts(stop);
    const scores = { shown: scoresOf(both.shown), pooled: scoresOf(both.pooled) };
    const lines = [
      ["picks", (c) => c.picks], ["correct", (c) => c.correct], ["false", (c) => c.picks - c.correct], ["missed", (c) => c.particles - c.correct],
    ].map(([name, of]) => [name, of(both.shown).toLocaleString("en"), of(both.pooled).toLocaleString("en")]);
    for (const [name, key] of [["precision", "precision"], ["recall", "recall"], ["F1", "f1"]]) {
      lines.push([name, scores.shown[key].toFixed(3), scores.pooled[key].toFixed(3)]);
    }
    byId("counts").replaceChildren(...lines.map(([name, ...values]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head, ...values.map((value) => Object.assign(document.createElement("td"), { textContent: value })));
      return row;
    }));
    const threshold = this.run.stops[stop];
    byId("threshold-value").textContent = `${Number(threshold.toPrecision(4))}${stop === this.own() ? " (the run's)" : ""}`;
    this.slider.setAttribute("aria-valuetext", String(threshold));
    byId("pooled-head").textContent = `all ${this.pooled().micrographs} test micrographs`;
    byId("uncovered").hidden = this.covered;
    byId("uncovered").textContent = this.covered ? "" : `${this.run.arm} was not run on this micrograph, so its scores do not include it.`;
    const counts = lines.slice(1, 4).map(([name, value]) => `${value} ${name}`).join(", ");
    const labels = this.run.ratio === null ? "" : `, ${percent(this.run.ratio)} labelled`;
    byId("caption").textContent = `${this.run.arm}${labels}, ${this.micrograph().name}`;
    this.svg.setAttribute("aria-label", `Micrograph ${this.micrograph().name} with the picks of ${this.run.arm}${labels}: ${counts}`);
    // Announce when the slider stops, not at each step.
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => { byId("announced").textContent = `threshold ${Number(threshold.toPrecision(4))}: ${counts}`; }, 400);
    this.marker = threshold;
    charts.get(this.sweepHolder)?.update("none");
  }

  /** Plot scores over all test micrographs against the threshold, with a line at the slider. */
  sweep() {
    this.sweepHolder = byId("sweep")?.parentElement || this.sweepHolder;
    const pooled = this.pooled();
    const points = this.run.stops.map((x, i) => ({ x, ...scoresOf({ picks: pooled.picks[i], correct: pooled.true[i], particles: pooled.truth }) }));
    const lines = { f1: ["F1", "#000000", []], precision: ["precision", "#009e73", [7, 3]], recall: ["recall", "#cc79a7", [2, 3]] };
    draw(this.sweepHolder, "scores against the threshold", {
      type: "line",
      data: { datasets: Object.entries(lines).map(([key, [label, colour, dash]]) => ({
        label, data: points.filter((p) => key !== "precision" || p.recall > 0).map((p) => ({ x: p.x, y: p[key] })), borderColor: colour, backgroundColor: colour, borderDash: dash, borderWidth: 1.6, pointRadius: 0, pointStyle: "line",
      })) },
      options: {
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: { x: axis("score threshold", { type: "linear", min: points[0].x, max: points.at(-1).x }), y: axis("", { min: 0, max: 1 }) },
        plugins: { legend: { labels: { pointStyleWidth: 34 } }, tooltip: { callbacks: { title: () => "", label: ({ dataset: { label }, raw }) => `${label} ${raw.y.toFixed(3)} at ${raw.x}` } } },
      },
      plugins: [{
        id: "marker",
        afterDraw: ({ ctx, chartArea, scales }) => {
          const at = scales.x.getPixelForValue(this.marker);
          ctx.save();
          ctx.strokeStyle = "#5b6470";
          ctx.beginPath();
          ctx.moveTo(at, chartArea.top);
          ctx.lineTo(at, chartArea.bottom);
          ctx.stroke();
          ctx.restore();
        },
      }],
    });
  }

  /* Zoom: the view box of the SVG, in px of the shown image. */

  zoomTo({ x, y, width }) {
    const shown = this.micrograph();
    width = Math.min(shown.width, Math.max(shown.width / 16, width));
    const height = width * shown.height / shown.width;
    x = Math.min(Math.max(x, 0), shown.width - width);
    y = Math.min(Math.max(y, 0), shown.height - height);
    this.view = { x, y, width };
    this.svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
    this.svg.classList.toggle("zoomed", width < shown.width);
  }

  /** Zoom by a factor around a point of the screen, or around the centre. */
  zoomBy(factor, client) {
    const box = this.svg.getBoundingClientRect();
    const shown = this.micrograph();
    const [fx, fy] = client ? [(client.x - box.left) / box.width, (client.y - box.top) / box.height] : [0.5, 0.5];
    const width = Math.min(shown.width, Math.max(shown.width / 16, this.view.width / factor));
    const gain = this.view.width - width;
    this.zoomTo({ x: this.view.x + fx * gain, y: this.view.y + fy * gain * shown.height / shown.width, width });
  }

  zooming() {
    const { svg } = this;
    byId("zoom-in").addEventListener("click", () => this.zoomBy(1.6));
    byId("zoom-out").addEventListener("click", () => this.zoomBy(1 / 1.6));
    byId("zoom-reset").addEventListener("click", () => this.zoomTo({ x: 0, y: 0, width: Infinity }));
    svg.addEventListener("dblclick", (event) => this.zoomBy(2, { x: event.clientX, y: event.clientY }));
    svg.addEventListener("wheel", (event) => {
      // Without Ctrl, the wheel scrolls the page as usual.
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoomBy(1.0015 ** -event.deltaY, { x: event.clientX, y: event.clientY });
    }, { passive: false });
    svg.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") this.zoomBy(1.6);
      else if (event.key === "-") this.zoomBy(1 / 1.6);
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      // Unless zoomed in, leave the arrow keys to the page.
      if (step && svg.classList.contains("zoomed")) {
        event.preventDefault();
        this.zoomTo({ ...this.view, x: this.view.x + step[0] * this.view.width / 8, y: this.view.y + step[1] * this.view.width / 8 });
      }
    });
    const fingers = new Map();
    const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
    svg.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (svg.classList.contains("zoomed")) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.get(event.pointerId);
      const apart = fingers.size === 2 ? spread() : 0;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()];
        this.zoomBy(spread() / apart, { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
      } else if (svg.classList.contains("zoomed")) {
        const scale = this.view.width / svg.getBoundingClientRect().width;
        this.zoomTo({ ...this.view, x: this.view.x - (event.clientX - before.x) * scale, y: this.view.y - (event.clientY - before.y) * scale });
      }
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) svg.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
}

/* ---- the page ---------------------------------------------------------------------------- */

byId("radius").textContent = data.radius;
sortable(byId("comparison"));
new Gallery(data.gallery);

const dataset = fill(byId("scores-dataset"), unique(data.scores.map((chart) => chart.dataset)), (name) => (name === "all" ? "all data sets" : name));
const ratios = unique(data.trainings.map((run) => run.ratio)).sort((a, b) => a - b);
const curvesShare = fill(byId("curves-share"), ratios, percent);
const drawCurves = () => draw(byId("curve-plot"), ...curveChart(dataset(), curvesShare()));
const drawScores = () => {
  drawGrid(byId("score-plots"), data.scores.filter((chart) => chart.dataset === dataset() && chart.points.length), scoreChart);
  drawCurves();
};
byId("scores-dataset").addEventListener("change", drawScores);
byId("curves-share").addEventListener("change", drawCurves);
drawScores();

const trainingShare = fill(byId("training-share"), ratios, percent);
const trainingSeed = fill(byId("training-seed"), unique(data.trainings.map((run) => run.seed)));
const drawTraining = () => trainingPlots(trainingShare(), trainingSeed());
byId("training-share").addEventListener("change", drawTraining);
byId("training-seed").addEventListener("change", drawTraining);
drawTraining();

/* Mark tables wider than the window, so that CSS can show that they scroll. */
const markWide = () => document.querySelectorAll(".wide").forEach((wide) => wide.classList.toggle("scrolls", wide.scrollWidth > wide.clientWidth + 1));
addEventListener("resize", markWide);
markWide();
