// ------------------------------------------------------------------ what is drawn
const choice = { quantity: "mag", bins: "points", scale: "absolute", time: "mjd", doubtful: true, colour: document.querySelector("input[name=colour]:checked")?.value };
const frameText = (i) => [
  `${dateOf(FRAMES.mjd[i]).slice(0, 19).replace("T", " ")} UTC`, `MJD ${FRAMES.mjd[i].toFixed(5)} UTC · ${bjdText(FRAMES.mjd[i], FRAMES.ahead[i])}`,
  `seeing ${fixed(FRAMES.seeing[i], 2)}″ · airmass ${fixed(FRAMES.airmass[i], 2)} · ${fixed(FRAMES.exptime[i], 0)} s`,
  FRAMES.cameras[FRAMES.camera[i]], `frame ${FRAMES.id[i]}: ${FRAMES.name[i]}`].filter(Boolean).join("\n");

function brightness(source, i) {
  if (source.mag[i] !== null) return `${source.mag[i].toFixed(4)} mag  +${fixed(source.up[i], 4)} −${fixed(source.down[i], 4)}`;
  return source.limit[i] === null ? "" : `fainter than ${source.limit[i].toFixed(3)} mag`;
}
const PER_FLUX = "flux";
function curvePoint(source, i, x, more, flags) {
  const tip = () => [source.name || "", brightness(source, i), `flux ${source.flux[i].toPrecision(6)} ± ${source.error[i].toPrecision(3)} e⁻/s`, ...more()].filter(Boolean).join("\n");
  const hollow = Boolean(flags & DATA.doubtful);
  if (choice.quantity === PER_FLUX) return { x, y: source.flux[i], lo: source.flux[i] - source.error[i], hi: source.flux[i] + source.error[i], hollow, tip };
  if (source.mag[i] !== null) return { x, y: source.mag[i], lo: source.mag[i] - (source.down[i] || 0), hi: source.mag[i] + (source.up[i] ?? source.down[i] ?? 0), hollow, tip };
  return source.limit[i] === null ? null : { x, y: source.limit[i], limit: true, hollow, tip };
}
// magnitudes less their median, or fluxes over it: sources of different brightness side by side
function relative(points) {
  const flux = choice.quantity === PER_FLUX, level = middle(points.filter((p) => !p.hollow && !p.limit).map((p) => p.y));
  if (level === null || (flux && !(level > 0))) return points;
  const scaled = (v) => v === undefined ? v : flux ? v / level : v - level;
  return points.map((p) => ({ ...p, y: scaled(p.y), lo: scaled(p.lo), hi: scaled(p.hi) }));
}
// where a moment is on the axis; null where its barycentric date is not known
const BJD_ZERO = 2400000;
function timeOf(mjd, ahead) {
  if (choice.time === "mjd") return mjd;
  const bjd = bjdOf(mjd, ahead);
  return bjd === null ? null : bjd - BJD_ZERO;
}
const look = (k) => ({ shape: SHAPES[k % SHAPES.length], colour: `--s${k % 6}` });
// the points of a source as a series per camera, which have their own look
function byCamera(curve, source, points) {
  return curve.cameras.map((camera, k) => ({
    name: [curve.sources.length > 1 ? source.name : "", FRAMES.cameras[camera] || "camera unknown"].filter(Boolean).join(" · "), ...look(k),
    points: points.filter((p) => FRAMES.camera[p.frame] === camera) })).filter((one) => one.points.length);
}
function curveSpec(index) {
  const curve = DATA.curves[index], nightly = choice.bins === "nights";
  const series = curve.sources.flatMap((source, k) => {
    let points;
    if (nightly) {
      const n = { ...source.nights, name: source.name };
      points = n.mjd.map((mjd, i) => curvePoint(n, i, timeOf(mjd, n.ahead[i]), () => [`night of ${dayOf(mjd)}, ${n.count[i]} frame${n.count[i] > 1 ? "s" : ""}`, `MJD ${mjd.toFixed(5)} UTC · ${bjdText(mjd, n.ahead[i])}`], 0)).filter((p) => p && p.x !== null);
    } else {
      points = source.frame.map((f, i) => {
        const more = () => [[source.chi2[i] === null ? "" : `χ² ${fixed(source.chi2[i], 2)}`, source.flags[i] ? flagText(source.flags[i]) : "no flags"].filter(Boolean).join(" · "), frameText(f)];
        const point = curvePoint(source, i, timeOf(FRAMES.mjd[f], FRAMES.ahead[f]), more, source.flags[i]);
        return point && { ...point, frame: f };
      }).filter((p) => p && p.x !== null && (choice.doubtful || !p.hollow));
    }
    const drawn = choice.scale === "relative" ? relative(points) : points;
    // a single source needs no colour of its own; its cameras do
    const apart = choice.colour === "camera" || (choice.colour === "each" && curve.sources.length === 1);
    if (!nightly && apart && curve.cameras.length > 1) return byCamera(curve, source, drawn);
    return [{ name: source.name, ...look(k), points: drawn }];
  });
  const flux = choice.quantity === PER_FLUX, yLabel = choice.scale === "relative" ? (flux ? "flux / median" : "mag − median") : (flux ? "flux, e⁻/s" : "mag");
  return { series, time: true, barycentric: choice.time === "bjd" ? `BJD (TDB) − ${BJD_ZERO}` : "", timeOf: (frame) => timeOf(FRAMES.mjd[frame], FRAMES.ahead[frame]), inverted: !flux, yLabel, table: () => curveTable(curve, nightly), pick: (point, chart) => chart.epochs && point.frame !== undefined && chart.epochs.show(point.frame) };
}
function curveTable(curve, nightly) {
  const name = [curve.roi, curve.filter, nightly ? "nightly" : ""].filter(Boolean).join("_");
  const measured = ["flux", "flux_uncertainty", "mag", "mag_uncertainty_up", "mag_uncertainty_down", "mag_limit", "reduced_chi2"];
  const values = (s, i) => [s.flux[i], s.error[i], s.mag[i], s.up[i], s.down[i], s.limit[i], s.chi2[i]];
  const first = (source) => [curve.roi, curve.filter, source.name];
  if (nightly) return { name, head: ["roi", "filter", "point_source", "mjd", "bjd_tdb", ...measured, "n_points"],
    rows: curve.sources.flatMap((s) => s.nights.mjd.map((mjd, i) => [...first(s), mjd, bjdOf(mjd, s.nights.ahead[i]), ...values(s.nights, i), s.nights.count[i]])) };
  return { name, head: ["roi", "filter", "point_source", "mjd", "bjd_tdb", "date_utc", ...measured, "flags", "doubtful", "seeing_arcseconds", "airmass", "sky_electron_per_second", "exptime", "camera", "frame_id", "frame"],
    rows: curve.sources.flatMap((s) => s.frame.map((f, i) => [...first(s), FRAMES.mjd[f], bjdOf(FRAMES.mjd[f], FRAMES.ahead[f]), dateOf(FRAMES.mjd[f]).slice(0, 19), ...values(s, i), flagText(s.flags[i]), Boolean(s.flags[i] & DATA.doubtful),
      FRAMES.seeing[f], FRAMES.airmass[f], FRAMES.sky[f], FRAMES.exptime[f], FRAMES.cameras[FRAMES.camera[f]], FRAMES.id[f], FRAMES.name[f]])) };
}
