"use strict";
(() => {
const DATA = JSON.parse(document.getElementById("data").textContent);
const FRAMES = DATA.frames;
const SHAPES = ["circle", "square", "up", "diamond", "down", "cross"];
const REACH = 26, KEEP = 0.002;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const make = (tag, parent, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
const fixed = (value, digits) => value === null || value === undefined ? "–" : value.toFixed(digits);
const dateOf = (mjd) => new Date((mjd - 40587) * 86400000).toISOString();
const flagText = (bits) => DATA.flagNames.filter((_, i) => bits & (1 << i)).join(", ");

// ------------------------------------------------------------------ shapes and ticks
function trace(g, shape, x, y, r) {
  g.beginPath();
  if (shape === "circle") g.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") g.rect(x - r * .88, y - r * .88, r * 1.76, r * 1.76);
  else if (shape === "cross") { g.moveTo(x - r, y - r); g.lineTo(x + r, y + r); g.moveTo(x - r, y + r); g.lineTo(x + r, y - r); }
  else {
    const corners = { up: [[0, -1.15], [1.1, .8], [-1.1, .8]], down: [[0, 1.15], [1.1, -.8], [-1.1, -.8]],
      diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]] }[shape];
    corners.forEach(([dx, dy], i) => i ? g.lineTo(x + dx * r, y + dy * r) : g.moveTo(x + dx * r, y + dy * r));
    g.closePath();
  }
}
function swatch(shape, colour) {
  const scale = window.devicePixelRatio || 1, canvas = make("canvas");
  canvas.width = canvas.height = 14 * scale;
  canvas.className = "swatch";
  canvas.setAttribute("aria-hidden", "true");
  canvas.style.width = canvas.style.height = "14px";
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  g.fillStyle = g.strokeStyle = colour;
  if (shape === "line" || shape === "dash") {
    g.lineWidth = 2;
    if (shape === "dash") g.setLineDash([4, 3]);
    g.beginPath(); g.moveTo(0, 7); g.lineTo(14, 7); g.stroke();
  } else { trace(g, shape, 7, 7, 4.5); shape === "cross" ? g.stroke() : g.fill(); }
  return canvas;
}
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * .999);
  const out = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) out.push(i * step);
  return { values: out, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), step };
}
function logTicks(low, high) {
  const out = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++) for (const m of [1, 2, 5]) out.push(p + Math.log10(m));
  const seen = out.filter((v) => v >= low && v <= high).map((v) => 10 ** v);
  return seen.length > 2 ? seen : ticks(10 ** low, 10 ** high, 4).values;
}

// ------------------------------------------------------------------ a chart
// spec: series [{name, shape, colour, points [{x, y, lo, hi, limit, hollow, tip}]}], lines [{name, dash, points}],
//       yLabel, xLabel, inverted, invertedX, log, time
class Chart {
  constructor(figure, build, group) {
    Object.assign(this, { figure, build, group, off: new Set(), at: null });
    const tools = make("div", figure);
    tools.className = "tools";
    for (const [sign, name, act] of [["−", "Zoom out", () => this.zoom(2)], ["+", "Zoom in", () => this.zoom(.5)], ["All", "Show all", () => this.show(null)]]) {
      const button = make("button", tools, sign);
      button.type = "button"; button.title = name; button.setAttribute("aria-label", name);
      button.addEventListener("click", act);
    }
    this.legend = make("div", figure); this.legend.className = "legend";
    this.plot = make("div", figure); this.plot.className = "plot";
    this.canvas = make("canvas", this.plot);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "chart");
    this.canvas.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent.trim().replace(/\s+/g, " ")}. Arrow keys move from point to point.`);
    this.tip = make("div", this.plot); this.tip.className = "tip"; this.tip.hidden = true;
    this.tip.setAttribute("role", "status"); this.tip.setAttribute("aria-live", "polite");
    group.charts.push(this);
    this.listen();
    this.renew();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }
  renew() {
    this.spec = this.build();
    this.at = null; this.tip.hidden = true;
    const all = this.spec.series.flatMap((s) => s.points.map((p) => p.x));
    const [low, high] = all.length ? [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))] : [0, 1];
    const pad = (high - low) * .03 || (this.spec.time ? .5 : 1);
    this.full = [low - pad, high + pad];
    this.drawLegend();
    this.draw();
  }
  drawLegend() {
    this.legend.replaceChildren();
    const colour = (s) => css(s.colour);
    if (this.spec.series.length > 1) this.spec.series.forEach((s) => {
      const button = make("button", this.legend);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!this.off.has(s.name)));
      button.append(swatch(s.shape, colour(s)), s.name);
      button.addEventListener("click", () => {
        this.off.has(s.name) ? this.off.delete(s.name) : this.off.add(s.name);
        button.setAttribute("aria-pressed", String(!this.off.has(s.name)));
        this.draw();
      });
    });
    (this.spec.lines || []).forEach((line) => {
      const still = make("span", this.legend);
      still.className = "still";
      still.append(swatch(line.dash ? "dash" : "line", colour(line)), line.name);
    });
  }
  visible() { return this.spec.series.filter((s) => !this.off.has(s.name)); }
  xRange() { return this.group.view || (this.group.shared ? this.group.full() : this.full); }
  yRange([x0, x1]) {
    const seen = this.visible().flatMap((s) => s.points.filter((p) => p.x >= x0 && p.x <= x1));
    const firm = seen.filter((p) => !p.hollow), use = firm.length ? firm : seen;
    if (!use.length) return this.spec.log ? [-3, 0] : [0, 1];
    let values = use.flatMap((p) => p.y === null ? [] : [p.y]);
    for (const p of use) { if (p.lo !== undefined && p.hi - p.lo < this.wide(use)) values.push(p.lo, p.hi); }
    if (this.spec.log) values = values.filter((v) => v > 0).map(Math.log10);
    values.sort((a, b) => a - b);
    // a few wild points must not flatten the others
    const cut = values.length > 400 ? Math.floor(values.length * KEEP) : 0;
    let low = values[cut], high = values[values.length - 1 - cut];
    if (!Number.isFinite(low)) return this.spec.log ? [-3, 0] : [0, 1];
    const pad = (high - low) * .08 || Math.abs(high) * .05 || (this.spec.log ? .3 : 1);
    return [low - pad, high + pad];
  }
  wide(points) {
    if (points.wide === undefined) {
      const spans = points.filter((p) => p.lo !== undefined).map((p) => p.hi - p.lo).sort((a, b) => a - b);
      points.wide = spans.length ? 4 * spans[spans.length >> 1] : 0;
    }
    return points.wide;
  }
  draw() {
    const width = this.plot.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    const scale = window.devicePixelRatio || 1, c = this.canvas;
    c.width = Math.round(width * scale); c.height = Math.round(height * scale);
    const g = c.getContext("2d");
    g.scale(scale, scale);
    g.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const X = this.xRange(), Y = this.yRange(X), spec = this.spec;
    const box = this.box = { left: 58, right: width - 10, top: 8, bottom: height - (spec.time ? 44 : 40) };
    const span = (v, [a, b]) => (v - a) / (b - a);
    this.toX = (v) => box.left + (spec.invertedX ? 1 - span(v, X) : span(v, X)) * (box.right - box.left);
    this.fromX = (px) => { const t = (px - box.left) / (box.right - box.left); return X[0] + (spec.invertedX ? 1 - t : t) * (X[1] - X[0]); };
    const level = (v) => spec.log ? Math.log10(Math.max(v, 1e-12)) : v;
    this.toY = (v) => { const t = span(level(v), Y); return spec.inverted ? box.top + t * (box.bottom - box.top) : box.bottom - t * (box.bottom - box.top); };
    this.axes(g, X, Y);
    g.save();
    g.beginPath(); g.rect(box.left, box.top, box.right - box.left, box.bottom - box.top); g.clip();
    for (const line of spec.lines || []) this.line(g, line);
    for (const s of this.visible()) this.points(g, s, X);
    if (this.at) this.ring(g);
    if (this.drag) { g.fillStyle = css("--accent"); g.globalAlpha = .15; g.fillRect(this.drag[0], box.top, this.drag[1] - this.drag[0], box.bottom - box.top); }
    g.restore();
  }
  axes(g, X, Y) {
    const { box, spec } = this, soft = css("--soft"), grid = css("--grid");
    g.lineWidth = 1; g.textBaseline = "middle";
    const y = spec.log ? null : ticks(Y[0], Y[1], Math.max(4, (box.bottom - box.top) / 40));
    const values = spec.log ? logTicks(Y[0], Y[1]) : y.values;
    let last = null;
    for (const v of values) {
      const at = Math.round(this.toY(v)) + .5;
      g.strokeStyle = grid; g.beginPath(); g.moveTo(box.left, at); g.lineTo(box.right, at); g.stroke();
      if (last !== null && Math.abs(at - last) < 14) continue;
      last = at;
      g.fillStyle = soft; g.textAlign = "right";
      g.fillText(spec.log ? (spec.percent ? `${Number((v * 100).toPrecision(3))} %` : String(Number(v.toPrecision(3)))) : this.short(v, y.digits), box.left - 6, at);
    }
    const room = spec.time ? 110 : 60, x = ticks(X[0], X[1], Math.max(2, (box.right - box.left) / room));
    g.textAlign = "center"; g.textBaseline = "top";
    for (const v of x.values) {
      const at = Math.round(this.toX(v)) + .5;
      g.strokeStyle = grid; g.beginPath(); g.moveTo(at, box.top); g.lineTo(at, box.bottom); g.stroke();
      const inside = Math.min(Math.max(at, box.left + 14), box.right - 32);
      g.fillStyle = soft; g.fillText(v.toFixed(x.digits), inside, box.bottom + 6);
      if (spec.time) { const iso = dateOf(v); g.fillText(x.step < .5 ? iso.slice(5, 16).replace("T", " ") : iso.slice(0, 10), inside, box.bottom + 22); }
    }
    if (spec.time) { g.textAlign = "left"; g.fillText("MJD", 4, box.bottom + 6); }
    else { g.textAlign = "center"; g.fillText(spec.xLabel, (box.left + box.right) / 2, box.bottom + 22); }
    g.strokeStyle = css("--line"); g.strokeRect(box.left + .5, box.top + .5, box.right - box.left, box.bottom - box.top);
  }
  short(v, digits) {
    if (Math.abs(v) >= 1e5) return v.toExponential(Math.min(2, Math.max(0, 6 - digits)));
    return v.toFixed(Math.min(digits, 6));
  }
  line(g, line) {
    g.strokeStyle = css(line.colour); g.lineWidth = 1.6; g.setLineDash(line.dash ? [5, 4] : []);
    g.beginPath();
    line.points.forEach(([x, y], i) => i ? g.lineTo(this.toX(x), this.toY(y)) : g.moveTo(this.toX(x), this.toY(y)));
    g.stroke(); g.setLineDash([]);
  }
  points(g, s, [x0, x1]) {
    const seen = s.points.filter((p) => p.x >= x0 && p.x <= x1), colour = css(s.colour);
    const r = seen.length > 600 ? 2.2 : seen.length > 150 ? 2.9 : 3.8;
    g.strokeStyle = g.fillStyle = colour;
    g.lineWidth = 1; g.globalAlpha = seen.length > 600 ? .35 : .55;
    g.beginPath();
    for (const p of seen) if (p.lo !== undefined && !p.limit) { const x = this.toX(p.x); g.moveTo(x, this.toY(p.lo)); g.lineTo(x, this.toY(p.hi)); }
    g.stroke();
    for (const p of seen) {
      const x = this.toX(p.x), y = this.toY(p.y);
      g.globalAlpha = p.hollow ? .6 : .95;
      if (p.limit) {
        g.lineWidth = 1.4; g.beginPath(); g.moveTo(x - 4, y); g.lineTo(x + 4, y); g.moveTo(x, y); g.lineTo(x, y + 9);
        g.moveTo(x - 3, y + 6); g.lineTo(x, y + 9); g.lineTo(x + 3, y + 6); g.stroke();
      } else {
        trace(g, s.shape, x, y, r); g.lineWidth = 1.3;
        p.hollow || s.shape === "cross" ? g.stroke() : g.fill();
      }
    }
    g.globalAlpha = 1;
  }
  ring(g) {
    const { point } = this.at;
    g.strokeStyle = css("--ink"); g.lineWidth = 2;
    g.beginPath(); g.arc(this.toX(point.x), this.toY(point.y), 8, 0, 2 * Math.PI); g.stroke();
  }
  // ---------------------------------------------------------------- moving about
  show(view) { this.group.view = view; this.group.charts.forEach((c) => { c.at = null; c.tip.hidden = true; c.draw(); }); }
  zoom(factor, centre) {
    const [a, b] = this.xRange(), [fa, fb] = this.group.shared ? this.group.full() : this.full;
    const middle = centre ?? (this.at ? this.at.point.x : (a + b) / 2);
    const view = [middle - (middle - a) * factor, middle + (b - middle) * factor];
    if (view[0] <= fa && view[1] >= fb) return this.show(null);
    if (view[1] - view[0] > 1e-5 * (fb - fa)) this.show([Math.max(view[0], fa), Math.min(view[1], fb)]);
  }
  nearest(px, py) {
    let best = null, least = REACH ** 2;
    for (const series of this.visible()) for (const point of series.points) {
      const d = (this.toX(point.x) - px) ** 2 + (this.toY(point.y) - py) ** 2;
      if (d < least) { least = d; best = { series, point }; }
    }
    return best;
  }
  select(found) {
    const moved = (found && found.point) !== (this.at && this.at.point);
    this.at = found;
    if (moved) this.draw();
    this.tip.hidden = !found;
    if (!found) return;
    if (moved) this.tip.textContent = found.point.tip();
    const x = this.toX(found.point.x), y = this.toY(found.point.y), wide = this.tip.offsetWidth, high = this.tip.offsetHeight;
    this.tip.style.left = `${Math.max(0, Math.min(x + 14 + wide > this.plot.clientWidth ? x - wide - 14 : x + 14, this.plot.clientWidth - wide))}px`;
    this.tip.style.top = `${Math.max(0, Math.min(y - high / 2, this.canvas.clientHeight - high))}px`;
  }
  step(by, across) {
    const list = this.visible().filter((s) => s.points.length);
    if (!list.length) return;
    const [x0, x1] = this.xRange();
    if (!this.at) return this.select({ series: list[0], point: list[0].points.find((p) => p.x >= x0 && p.x <= x1) || list[0].points[0] });
    let { series, point } = this.at;
    if (across) {
      series = list[(list.indexOf(series) + across + list.length) % list.length];
      point = series.points.reduce((a, b) => Math.abs(b.x - point.x) < Math.abs(a.x - point.x) ? b : a);
    } else {
      const order = series.ordered || (series.ordered = [...series.points].sort((a, b) => a.x - b.x));
      point = order[Math.min(Math.max(order.indexOf(point) + (this.spec.invertedX ? -by : by), 0), order.length - 1)];
    }
    if (point.x < x0 || point.x > x1) { const half = (x1 - x0) / 2; this.show([point.x - half, point.x + half]); }
    this.select({ series, point });
  }
  listen() {
    const c = this.canvas, where = (e) => { const r = c.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    c.addEventListener("pointerdown", (e) => { if (e.button === 0) { this.from = where(e)[0]; c.setPointerCapture(e.pointerId); } });
    c.addEventListener("pointermove", (e) => {
      const [x, y] = where(e);
      if (this.from !== undefined && Math.abs(x - this.from) > 8) { this.drag = [Math.min(x, this.from), Math.max(x, this.from)]; this.select(null); return this.draw(); }
      this.select(this.nearest(x, y));
    });
    c.addEventListener("pointerup", (e) => {
      const drag = this.drag;
      this.from = this.drag = undefined;
      if (drag) this.show(drag.map(this.fromX).sort((a, b) => a - b)); else this.select(this.nearest(...where(e)));
    });
    c.addEventListener("pointercancel", () => { this.from = this.drag = undefined; this.draw(); });
    c.addEventListener("pointerleave", () => { if (document.activeElement !== c) this.select(null); });
    c.addEventListener("dblclick", () => this.show(null));
    c.addEventListener("wheel", (e) => {
      if (document.activeElement !== c && !e.ctrlKey) return;
      e.preventDefault();
      this.zoom(e.deltaY > 0 ? 1.25 : .8, this.fromX(where(e)[0]));
    }, { passive: false });
    c.addEventListener("blur", () => this.select(null));
    c.addEventListener("keydown", (e) => {
      const act = { ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowUp: () => this.step(0, -1), ArrowDown: () => this.step(0, 1),
        "+": () => this.zoom(.5), "=": () => this.zoom(.5), "-": () => this.zoom(2), 0: () => this.show(null), Escape: () => this.select(null) }[e.key];
      if (act && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); act(); }
    });
  }
}
function newGroup(shared) {
  const group = { charts: [], view: null, shared };
  group.full = () => [Math.min(...group.charts.map((c) => c.full[0])), Math.max(...group.charts.map((c) => c.full[1]))];
  return group;
}

// ------------------------------------------------------------------ what is drawn
const choice = { quantity: "mag", bins: "points", doubtful: true };
const frameText = (i) => [
  `${dateOf(FRAMES.mjd[i]).slice(0, 19).replace("T", " ")} UTC`, `MJD ${FRAMES.mjd[i].toFixed(5)}`,
  `seeing ${fixed(FRAMES.seeing[i], 2)}″ · airmass ${fixed(FRAMES.airmass[i], 2)} · ${fixed(FRAMES.exptime[i], 0)} s`,
  `frame ${FRAMES.id[i]}: ${FRAMES.name[i]}`].join("\n");

function brightness(source, i) {
  if (source.mag[i] !== null) return `${source.mag[i].toFixed(4)} mag  +${fixed(source.up[i], 4)} −${fixed(source.down[i], 4)}`;
  return source.limit[i] === null ? "" : `fainter than ${source.limit[i].toFixed(3)} mag`;
}
function curvePoint(source, i, x, more, flags) {
  const tip = () => [source.name || "", brightness(source, i), `flux ${source.flux[i].toPrecision(6)} ± ${source.error[i].toPrecision(3)} e⁻/s`, ...more()].filter(Boolean).join("\n");
  const hollow = Boolean(flags & DATA.doubtful);
  if (choice.quantity === "flux") return { x, y: source.flux[i], lo: source.flux[i] - source.error[i], hi: source.flux[i] + source.error[i], hollow, tip };
  if (source.mag[i] !== null) return { x, y: source.mag[i], lo: source.mag[i] - (source.down[i] || 0), hi: source.mag[i] + (source.up[i] ?? source.down[i] ?? 0), hollow, tip };
  return source.limit[i] === null ? null : { x, y: source.limit[i], limit: true, hollow, tip };
}
function curveSpec(index) {
  const curve = DATA.curves[index];
  const series = curve.sources.map((source, k) => {
    const style = { name: source.name, shape: SHAPES[k % SHAPES.length], colour: `--s${k % 6}` };
    if (choice.bins === "nights") {
      const n = { ...source.nights, name: source.name };
      const points = n.mjd.map((mjd, i) => curvePoint(n, i, mjd, () => [`night of ${dateOf(mjd).slice(0, 10)}, ${n.count[i]} frame${n.count[i] > 1 ? "s" : ""}`], 0));
      return { ...style, points: points.filter(Boolean) };
    }
    const points = source.frame.map((f, i) => {
      const more = () => [`χ² ${fixed(source.chi2[i], 2)}${source.flags[i] ? " · " + flagText(source.flags[i]) : ""}`, frameText(f)];
      return curvePoint(source, i, FRAMES.mjd[f], more, source.flags[i]);
    });
    return { ...style, points: points.filter((p) => p && (choice.doubtful || !p.hollow)) };
  });
  return { series, time: true, inverted: choice.quantity === "mag" };
}
const QUALITY = {
  seeing: { columns: [["seeing", ""]], digits: 2, unit: "″" },
  sky: { columns: [["sky", ""]], digits: 3, unit: " e⁻/s/px" },
  zeropoint: { columns: [["zeropoint", "", "zeropointError"]], digits: 3, unit: " mag" },
  coefficient: { columns: [["coefficient", "", "coefficientError"]], digits: 4, unit: "" },
  psf: { columns: [["psf", "stars used"], ["reserved", "reserved stars"]], digits: 3, unit: "", log: true },
  limit: { columns: [["limit", ""]], digits: 2, unit: " mag", inverted: true },
  airmass: { columns: [["airmass", ""]], digits: 3, unit: "", inverted: true },
  ellipticity: { columns: [["ellipticity", ""]], digits: 3, unit: "" },
};
function qualitySpec(kind) {
  const { columns, digits, unit, inverted, log } = QUALITY[kind];
  const filters = [...new Set(FRAMES.filter)].sort(), series = [];
  filters.forEach((filter, k) => columns.forEach(([column, label, error], j) => {
    const points = [];
    FRAMES[column].forEach((y, i) => {
      if (y === null || FRAMES.filter[i] !== filter) return;
      const e = error ? FRAMES[error][i] : null;
      const tip = () => [`${label ? label + " " : ""}${y.toFixed(digits)}${unit}${e ? " ± " + e.toFixed(digits) : ""}${filter ? " · filter " + filter : ""}`,
        FRAMES.flags[i] ? flagText(FRAMES.flags[i]) : "", FRAMES.eliminated[i] ? "eliminated" : "", frameText(i)].filter(Boolean).join("\n");
      points.push({ x: FRAMES.mjd[i], y, ...(e ? { lo: y - e, hi: y + e } : {}), hollow: Boolean(FRAMES.eliminated[i]), tip });
    });
    const name = [filter || "no filter", label].filter(Boolean).join(", ");
    if (points.length) series.push({ name, shape: SHAPES[(columns.length > 1 ? j * 3 : k) % SHAPES.length], colour: `--s${(k + 3 * j) % 6}`, points });
  }));
  return { series, time: true, inverted, log };
}
function starsSpec(index) {
  const s = DATA.stars[index], kinds = [["stars", false, "circle", "--s0"], ["disowned", true, "cross", "--s1"]];
  const series = kinds.map(([name, bad, shape, colour]) => ({ name, shape, colour, points: s.name.flatMap((star, i) => s.disowned[i] !== bad || !(s.scatter[i] > 0) ? [] : [{
    x: s.mag[i], y: s.scatter[i], tip: () => `star ${star}${bad ? " (varies or disagrees)" : ""}\n${s.mag[i].toFixed(2)} mag\nscatter ${(100 * s.scatter[i]).toFixed(3)} %, stated ${(100 * s.expected[i]).toFixed(3)} %\n${s.count[i]} frames` }]) })).filter((one) => one.points.length);
  const stated = s.mag.map((m, i) => [m, s.expected[i]]).sort((a, b) => a[0] - b[0]);
  const lines = [{ name: "stated uncertainty", colour: "--s2", points: stated }, { name: "the star's photons alone", dash: true, colour: "--soft", points: s.photon.mag.map((m, i) => [m, s.photon.noise[i]]).filter(([, y]) => y !== null) }];
  return { series, lines, log: true, percent: true, xLabel: s.magLabel };
}

// ------------------------------------------------------------------ start
const curves = newGroup(true), quality = newGroup(true);
const all = [];
document.querySelectorAll("[data-chart]").forEach((figure) => {
  const { chart, index, kind } = figure.dataset;
  if (chart === "curve") all.push(new Chart(figure, () => curveSpec(Number(index)), curves));
  else if (chart === "quality") {
    if (!QUALITY[kind] || !qualitySpec(kind).series.length) figure.remove();
    else all.push(new Chart(figure, () => qualitySpec(kind), quality));
  } else all.push(new Chart(figure, () => starsSpec(Number(index)), newGroup(false)));
});
all.forEach((c) => c.draw());
document.querySelectorAll(".controls").forEach((box) => {
  box.hidden = false;
  box.addEventListener("change", (e) => {
    choice[e.target.name] = e.target.type === "checkbox" ? e.target.checked : e.target.value;
    curves.charts.forEach((c) => c.renew());
  });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all.forEach((c) => { c.drawLegend(); c.draw(); }));
})();
