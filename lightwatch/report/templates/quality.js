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
  return { series, time: true, inverted, log, table: () => ({ name: `quality_${kind}`, head: ["frame_id", "frame", "filter", "mjd", ...columns.flatMap(([c, , e]) => e ? [c, `${c}_uncertainty`] : [c]), "eliminated"],
    rows: FRAMES.id.map((id, i) => [id, FRAMES.name[i], FRAMES.filter[i], FRAMES.mjd[i], ...columns.flatMap(([c, , e]) => e ? [FRAMES[c][i], FRAMES[e][i]] : [FRAMES[c][i]]), Boolean(FRAMES.eliminated[i])]) }) };
}
function starsSpec(index) {
  const s = DATA.stars[index], kinds = [["stars", false, "circle", "--s0"], ["disowned", true, "cross", "--s1"]];
  const series = kinds.map(([name, bad, shape, colour]) => ({ name, shape, colour, points: s.name.flatMap((star, i) => s.disowned[i] !== bad || !(s.scatter[i] > 0) ? [] : [{
    x: s.mag[i], y: s.scatter[i], tip: () => `star ${star}${bad ? " (varies or disagrees)" : ""}\n${s.mag[i].toFixed(2)} mag\nscatter ${(100 * s.scatter[i]).toFixed(3)} %, stated ${(100 * s.expected[i]).toFixed(3)} %\n${s.count[i]} frames` }]) })).filter((one) => one.points.length);
  const stated = s.mag.map((m, i) => [m, s.stated[i]]).filter(([, y]) => y !== null).sort((a, b) => a[0] - b[0]);
  const lines = [{ name: "stated uncertainty", colour: "--s2", points: stated }, { name: "the star's photons alone", dash: true, colour: "--soft", points: s.photon.mag.map((m, i) => [m, s.photon.noise[i]]).filter(([, y]) => y !== null) }];
  const table = () => ({ name: ["star_scatter", s.filter].filter(Boolean).join("_"), head: ["star", "mag", "scatter", "stated_uncertainty", "n_frames", "disowned"],
    rows: s.name.map((star, i) => [star, s.mag[i], s.scatter[i], s.expected[i], s.count[i], s.disowned[i]]) });
  return { series, lines, log: true, percent: true, xLabel: s.magLabel, yLabel: "scatter", table };
}

