// ------------------------------------------------------------------ a chart
// spec: series [{name, shape, colour, points [{x, y, lo, hi, limit, hollow, frame, tip}]}], lines [{name, dash, points}],
//       yLabel, xLabel, inverted, invertedX, log, time, barycentric (label of such an axis),
//       timeOf (frame), table () => {name, head, rows}, pick (point)
class Chart {
  constructor(figure, build, group) {
    Object.assign(this, { figure, build, group, off: new Set(), at: null });
    const tools = make("div", figure);
    tools.className = "tools";
    for (const [sign, name, act] of [["−", "Zoom out", () => this.zoom(2)], ["+", "Zoom in", () => this.zoom(.5)], ["All", "Show all", () => this.show(null)], ["CSV", "Download the numbers as CSV", () => this.download()]]) {
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
    // far from what is on the screen nothing is drawn
    this.near = false;
    new IntersectionObserver(([entry]) => { this.near = entry.isIntersecting; this.draw(); }, { rootMargin: "800px" }).observe(this.plot);
  }
  download() { const table = this.spec.table(); save(table.name, csvOf(table)); }
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
    // limits wait at the edge rather than press what was measured together
    const measured = seen.filter((p) => !p.limit), known = measured.length ? measured : seen;
    // nor do doubtful points set the scale, unless most are doubtful
    const firm = known.filter((p) => !p.hollow), use = 2 * firm.length >= known.length ? firm : known;
    if (!use.length) return this.spec.log ? [-3, 0] : [0, 1];
    let values = use.flatMap((p) => p.y === null ? [] : [p.y]);
    for (const p of use) { if (p.lo !== undefined && p.hi - p.lo < this.wide(use)) values.push(p.lo, p.hi); }
    for (const line of this.spec.lines || []) values.push(...line.points.flatMap(([x, y]) => x >= x0 && x <= x1 ? [y] : []));
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
    if (!width || !this.near) return;
    const scale = window.devicePixelRatio || 1, c = this.canvas;
    c.width = Math.round(width * scale); c.height = Math.round(height * scale);
    const g = c.getContext("2d");
    g.scale(scale, scale);
    g.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const X = this.xRange(), Y = this.yRange(X), spec = this.spec;
    const box = this.box = { left: 58, right: width - 10, top: spec.yLabel ? 22 : 8, bottom: height - (spec.time ? 44 : 40) };
    const span = (v, [a, b]) => (v - a) / (b - a);
    this.toX = (v) => box.left + (spec.invertedX ? 1 - span(v, X) : span(v, X)) * (box.right - box.left);
    this.fromX = (px) => { const t = (px - box.left) / (box.right - box.left); return X[0] + (spec.invertedX ? 1 - t : t) * (X[1] - X[0]); };
    const level = (v) => spec.log ? Math.log10(Math.max(v, 1e-12)) : v;
    this.toY = (v) => { const t = span(level(v), Y); return spec.inverted ? box.top + t * (box.bottom - box.top) : box.bottom - t * (box.bottom - box.top); };
    // what lies off the scale waits at the edge, where it can be seen and chosen
    this.offScale = (p) => { const y = this.toY(p.y); return p.limit ? 0 : y < box.top ? -1 : y > box.bottom ? 1 : 0; };
    this.markY = (p) => {
      const [above, below] = p.limit ? [3, 12] : this.offScale(p) ? [EDGE, EDGE] : [-Infinity, -Infinity];
      return Math.min(Math.max(this.toY(p.y), box.top + above), box.bottom - below);
    };
    this.axes(g, X, Y);
    if (spec.yLabel) { g.fillStyle = css("--soft"); g.textAlign = "left"; g.textBaseline = "top"; g.fillText(spec.yLabel, 4, 3); }
    g.save();
    g.beginPath(); g.rect(box.left, box.top, box.right - box.left, box.bottom - box.top); g.clip();
    for (const line of spec.lines || []) this.line(g, line);
    for (const s of this.visible()) this.points(g, s, X);
    const marked = this.marked === undefined ? null : spec.timeOf(this.marked);
    if (marked !== null) this.line(g, { colour: "--accent", dash: true, points: [[marked, Y[0]], [marked, Y[1]]] });
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
    g.textAlign = "center"; g.textBaseline = "top";
    for (const { at, inside, labels } of this.xTicks(g, X)) {
      g.strokeStyle = grid; g.beginPath(); g.moveTo(at, box.top); g.lineTo(at, box.bottom); g.stroke();
      g.fillStyle = soft; labels.forEach((text, line) => g.fillText(text, inside, box.bottom + 6 + 16 * line));
    }
    if (spec.time && !spec.barycentric) { g.textAlign = "left"; g.fillText("MJD", 4, box.bottom + 6); }
    else { g.textAlign = "center"; g.fillText(spec.barycentric || spec.xLabel, (box.left + box.right) / 2, box.bottom + 22); }
    g.strokeStyle = css("--line"); g.strokeRect(box.left + .5, box.top + .5, box.right - box.left, box.bottom - box.top);
  }
  // three with labels if the screen is not too narrow for them; a label without room is left out
  xTicks(g, [low, high]) {
    const { box, spec } = this, room = spec.time ? 110 : 60;
    let count = Math.max(2, (box.right - box.left) / room), placed;
    for (let tries = 0; tries < 5; tries++, count *= 1.5) {
      const { values, digits, step } = ticks(low, high, count);
      let end = -Infinity, before = "";
      placed = values.map((v) => {
        const at = Math.round(this.toX(v)) + .5, inside = Math.min(Math.max(at, box.left + 14), box.right - 32);
        const labels = [v.toFixed(digits), ...(spec.time && !spec.barycentric ? [dateText(v, step, before)] : [])];
        const half = Math.max(...labels.map((text) => g.measureText(text).width)) / 2;
        if (!spec.invertedX && inside - half < end + 4) return { at, labels: [] };
        end = inside + half; before = spec.time ? dayOf(v) : "";
        return { at, inside, labels };
      });
      if (placed.filter(({ labels }) => labels.length).length >= 3) break;
    }
    return placed;
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
    g.lineWidth = 1; g.globalAlpha = seen.length > 4000 ? .12 : seen.length > 600 ? .35 : .55;
    g.beginPath();
    for (const p of seen) if (p.lo !== undefined && !p.limit) { const x = this.toX(p.x); g.moveTo(x, this.toY(p.lo)); g.lineTo(x, this.toY(p.hi)); }
    g.stroke();
    for (const p of seen) {
      const x = this.toX(p.x), y = this.markY(p);
      g.globalAlpha = p.hollow ? .6 : seen.length > 4000 ? .6 : .95;
      if (p.limit) {
        g.lineWidth = 1.4; g.beginPath(); g.moveTo(x - 4, y); g.lineTo(x + 4, y); g.moveTo(x, y); g.lineTo(x, y + 9);
        g.moveTo(x - 3, y + 6); g.lineTo(x, y + 9); g.lineTo(x + 3, y + 6); g.stroke();
      } else {
        trace(g, s.shape, x, y, r); g.lineWidth = 1.3;
        p.hollow || s.shape === "cross" ? g.stroke() : g.fill();
        const off = this.offScale(p), tip = y + off * (EDGE - 2);
        if (off) { g.globalAlpha = 1; g.lineWidth = 1.6; g.beginPath(); g.moveTo(x - 4, tip - off * 4); g.lineTo(x, tip); g.lineTo(x + 4, tip - off * 4); g.stroke(); }
      }
    }
    g.globalAlpha = 1;
  }
  ring(g) {
    const { point } = this.at;
    g.strokeStyle = css("--ink"); g.lineWidth = 2;
    g.beginPath(); g.arc(this.toX(point.x), this.markY(point), 8, 0, 2 * Math.PI); g.stroke();
  }
  // ---------------------------------------------------------------- moving about
  show(view) { this.group.view = view; this.group.charts.forEach((c) => { c.at = null; c.tip.hidden = true; c.draw(); }); }
  pan(by) {
    const [a, b] = this.xRange(), [fa, fb] = this.group.shared ? this.group.full() : this.full;
    const d = Math.min(Math.max(by, fa - a), fb - b);
    if (this.group.view) this.show([a + d, b + d]);
  }
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
      const d = (this.toX(point.x) - px) ** 2 + (this.markY(point) - py) ** 2;
      if (d < least) { least = d; best = { series, point }; }
    }
    return best;
  }
  select(found) {
    if (!this.near) { this.near = true; this.draw(); }
    const moved = (found && found.point) !== (this.at && this.at.point);
    this.at = found;
    if (moved) this.draw();
    this.tip.hidden = !found;
    if (!found) return;
    if (moved) this.tip.textContent = found.point.tip() + (this.offScale(found.point) ? "\noff the scale of this chart" : "");
    const x = this.toX(found.point.x), y = this.markY(found.point), wide = this.tip.offsetWidth, high = this.tip.offsetHeight;
    const room = this.plot.clientWidth, under = this.canvas.clientHeight - high;
    // beside the point; where there is no room beside it, in the other half of the chart
    const beside = x + 14 + wide <= room ? x + 14 : x - wide - 14 >= 0 ? x - wide - 14 : null;
    const top = beside !== null ? y - high / 2 : y > this.canvas.clientHeight / 2 ? 0 : under;
    this.tip.style.left = `${beside ?? Math.max(0, Math.min(x - wide / 2, room - wide))}px`;
    this.tip.style.top = `${Math.max(0, Math.min(top, under))}px`;
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
  end(last) {
    const s = this.at ? this.at.series : this.visible().find((one) => one.points.length);
    if (!s || !s.points.length) return;
    const point = s.points.reduce((a, b) => (b.x > a.x) === last ? b : a), [x0, x1] = this.xRange();
    if (point.x < x0 || point.x > x1) this.pan(point.x - (x0 + x1) / 2);
    this.select({ series: s, point });
  }
  pick() { if (this.at && this.spec.pick) this.spec.pick(this.at.point, this); }
  listen() {
    const c = this.canvas, where = (e) => { const r = c.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    const fingers = new Map();
    const spread = () => { const [a, b] = [...fingers.values()]; return [Math.abs(a - b), (a + b) / 2]; };
    c.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      const [x] = where(e);
      fingers.set(e.pointerId, x);
      this.from = x; this.moving = e.shiftKey ? this.xRange() : null;
      if (fingers.size === 2) { this.drag = undefined; this.pinch = { view: this.xRange(), at: spread() }; }
      c.setPointerCapture(e.pointerId);
    });
    c.addEventListener("pointermove", (e) => {
      const [x, y] = where(e);
      if (fingers.has(e.pointerId)) fingers.set(e.pointerId, x);
      if (this.pinch && fingers.size === 2) return this.pinched(spread());
      if (this.moving) { const [a, b] = this.xRange(), d = (this.from - x) / (this.box.right - this.box.left) * (b - a); this.from = x; return this.pan(this.spec.invertedX ? -d : d); }
      if (this.from !== undefined && Math.abs(x - this.from) > 8) { this.drag = [Math.min(x, this.from), Math.max(x, this.from)]; this.select(null); return this.draw(); }
      this.select(this.nearest(x, y));
    });
    const lift = (e) => { fingers.delete(e.pointerId); const pinched = this.pinch; if (!fingers.size) this.pinch = undefined; return pinched; };
    c.addEventListener("pointerup", (e) => {
      const drag = this.drag, moved = this.moving, pinched = lift(e);
      this.from = this.drag = undefined; this.moving = null;
      if (pinched || moved) return;
      if (drag) return this.show(drag.map(this.fromX).sort((a, b) => a - b));
      this.select(this.nearest(...where(e))); this.pick();
    });
    c.addEventListener("pointercancel", (e) => { lift(e); this.from = this.drag = undefined; this.moving = null; this.draw(); });
    // a lifted finger leaves too, and what it chose stays
    c.addEventListener("pointerleave", (e) => { if (e.pointerType !== "touch" && document.activeElement !== c) this.select(null); });
    c.addEventListener("dblclick", () => this.show(null));
    c.addEventListener("wheel", (e) => {
      if (document.activeElement !== c && !e.ctrlKey) return;
      e.preventDefault();
      this.zoom(e.deltaY > 0 ? 1.25 : .8, this.fromX(where(e)[0]));
    }, { passive: false });
    c.addEventListener("blur", () => this.select(null));
    c.addEventListener("keydown", (e) => {
      const act = { ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowUp: () => this.step(0, -1), ArrowDown: () => this.step(0, 1),
        Home: () => this.end(this.spec.invertedX), End: () => this.end(!this.spec.invertedX), Enter: () => this.pick(),
        "+": () => this.zoom(.5), "=": () => this.zoom(.5), "-": () => this.zoom(2), 0: () => this.show(null), Escape: () => this.select(null) }[e.key];
      if (act && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); act(); }
    });
  }
  pinched([distance, centre]) {
    const { view: [a, b], at: [first, middle] } = this.pinch, factor = first / Math.max(distance, 8);
    const share = (px) => (px - this.box.left) / (this.box.right - this.box.left);
    const fixedPoint = a + share(middle) * (b - a), span = (b - a) * factor, left = fixedPoint - share(centre) * span;
    const [fa, fb] = this.group.shared ? this.group.full() : this.full;
    if (span >= fb - fa) this.show(null); else this.show([Math.max(left, fa), Math.min(left + span, fb)]);
  }
}
function newGroup(shared) {
  const group = { charts: [], view: null, shared };
  group.full = () => [Math.min(...group.charts.map((c) => c.full[0])), Math.max(...group.charts.map((c) => c.full[1]))];
  return group;
}

