// ------------------------------------------------------------------ start
const curves = newGroup(true), quality = newGroup(true);
const all = [];
document.querySelectorAll("[data-chart]").forEach((figure) => {
  const { chart, index, kind } = figure.dataset;
  if (chart === "curve") {
    const one = new Chart(figure, () => curveSpec(Number(index)), curves), { pixels } = DATA.curves[index];
    if (pixels) one.epochs = new Epochs(one, pixels, DATA.curves[index]);
    all.push(one);
  }
  else if (chart === "quality") {
    if (!QUALITY[kind] || !qualitySpec(kind).series.length) figure.remove();
    else all.push(new Chart(figure, () => qualitySpec(kind), quality));
  } else all.push(new Chart(figure, () => starsSpec(Number(index)), newGroup(false)));
});
document.querySelectorAll(".controls").forEach((box) => {
  box.hidden = false;
  box.addEventListener("change", (e) => {
    if (e.target.name === "roi") return curves.charts.forEach((c) => { c.figure.hidden = e.target.value !== "" && c.figure.dataset.roi !== e.target.value; });
    choice[e.target.name] = e.target.type === "checkbox" ? e.target.checked : e.target.value;
    if (e.target.name === "time") curves.view = null;
    curves.charts.forEach((c) => c.renew());
  });
});
const paper = (yes) => {
  document.documentElement.classList.toggle("paper", yes);
  // nothing can be unfolded on paper
  document.querySelectorAll(yes ? ".verdict:not([open])" : ".verdict.unfolded").forEach((d) => { d.open = yes; d.classList.toggle("unfolded", yes); });
  all.forEach((c) => { c.near = c.near || yes; c.drawLegend(); c.draw(); });
};
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all.forEach((c) => { c.drawLegend(); c.draw(); }));
