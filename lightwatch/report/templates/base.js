const DATA = JSON.parse(document.getElementById("data").textContent);
const FRAMES = DATA.frames;
const SHAPES = ["circle", "square", "up", "diamond", "down", "cross"];
const REACH = 26, KEEP = 0.002, EDGE = 12;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const make = (tag, parent, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
const fixed = (value, digits) => value === null || value === undefined ? "–" : value.toFixed(digits);
// rounded: a date is cut after its digits, and 02:24 must not become 02:23 by a fraction of a millisecond
const dateOf = (mjd) => new Date(Math.round((mjd - 40587) * 86400000)).toISOString();
// barycentric dates are told as what they are ahead of the MJD, in days
const bjdOf = (mjd, ahead) => ahead === null ? null : mjd + 2400000.5 + ahead;
const bjdText = (mjd, ahead) => ahead === null ? "BJD not known" : `BJD ${bjdOf(mjd, ahead).toFixed(5)} TDB`;
const dayOf = (mjd) => dateOf(mjd).slice(0, 10);
const middle = (values) => { const sorted = [...values].sort((a, b) => a - b); return sorted.length ? sorted[sorted.length >> 1] : null; };
const hasPage = (i) => DATA.pages === "all" || DATA.pages.includes(FRAMES.id[i]);
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
// date under a tick, without the year or day that the tick before it (of that date) has told
function dateText(mjd, step, before) {
  const iso = dateOf(mjd);
  if (step >= 1) return iso.slice(0, 4) === before.slice(0, 4) ? iso.slice(5, 10) : iso.slice(0, 10);
  const clock = iso.slice(11, step < 1 / 86400 ? 23 : step < 1 / 1440 ? 19 : 16);
  return iso.slice(0, 10) === before ? clock : `${iso.slice(5, 10)} ${clock}`;
}
function logTicks(low, high) {
  const out = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++) for (const m of [1, 2, 5]) out.push(p + Math.log10(m));
  const seen = out.filter((v) => v >= low && v <= high).map((v) => 10 ** v);
  return seen.length > 2 ? seen : ticks(10 ** low, 10 ** high, 4).values;
}

// ------------------------------------------------------------------ files of the page's own numbers
// text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = /^[\s]*[=+\-@|%\t\r]/.test(value) ? "'" + value : String(value);
  return /[",\r\n;']/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
const csvOf = ({ head, rows }) => [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
function save(name, text) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._]+/, "").slice(0, 80) + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

