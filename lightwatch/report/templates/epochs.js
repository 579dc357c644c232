// ------------------------------------------------------------------ data, model and residual of an epoch
const paletteOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const PALETTES = DATA.palettes ? { data: paletteOf(DATA.palettes.data), residual: paletteOf(DATA.palettes.residual) } : null;

class Epochs {
  constructor(chart, pixels, curve) {
    Object.assign(this, { chart, pixels, curve, length: 4 * pixels.width * pixels.height });
    this.place = new Map(pixels.frame.map((frame, i) => [frame, i]));
    const box = make("div", chart.figure);
    box.className = "epoch";
    const strip = make("div", box); strip.className = "triple";
    this.canvases = ["data", "model", "residual"].map((name) => {
      const canvas = make("canvas", strip);
      canvas.width = pixels.width; canvas.height = pixels.height;
      canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", name);
      return canvas;
    });
    const side = make("div", box); side.className = "told";
    const label = make("label", side, "Epoch");
    this.slider = make("input", label);
    Object.assign(this.slider, { type: "range", min: 0, max: pixels.frame.length - 1, step: 1, value: pixels.frame.length - 1 });
    this.text = make("p", side); this.text.setAttribute("role", "status");
    this.slider.addEventListener("input", () => this.paint(Number(this.slider.value), true));
    this.paint(pixels.frame.length - 1, false);
  }
  show(frame) {
    const i = this.place.get(frame);
    if (i === undefined) { this.text.textContent = `The pixels of ${FRAMES.name[frame]} are not in this page.`; return; }
    this.slider.value = i;
    this.paint(i, true);
  }
  paint(i, mark) {
    const bytes = atob(this.pixels.bytes.slice(i * this.length, (i + 1) * this.length));
    this.canvases.forEach((canvas, k) => this.fill(canvas, bytes, k, PALETTES[k === 2 ? "residual" : "data"]));
    const frame = this.pixels.frame[i], source = this.curve.sources[0], at = source.frame.indexOf(frame);
    this.text.replaceChildren();
    const name = hasPage(frame) ? make("a", this.text, FRAMES.name[frame]) : make("b", this.text, FRAMES.name[frame]);
    if (hasPage(frame)) name.setAttribute("href", `frames/${Number(FRAMES.id[frame])}.html`);
    const chi2 = at < 0 || source.chi2[at] === null ? "" : ` · χ² ${fixed(source.chi2[at], 2)}`;
    const error = this.pixels.granted[i], granted = error ? `, PSF error of ${fixed(100 * error, 0)} % granted` : "";
    this.text.append(` · ${dateOf(FRAMES.mjd[frame]).slice(0, 16).replace("T", " ")} UTC · seeing ${fixed(FRAMES.seeing[frame], 2)}″${chi2}${granted} · data, model, residual (−5σ to +5σ)`);
    if (this.curve.kind === "aperture") {
      this.text.append("; residuals are of the model in the whole cutout, with neighbours that no list has: ");
      make("a", this.text, "its χ²").setAttribute("href", "#pixels");
    }
    this.slider.setAttribute("aria-valuetext", FRAMES.name[frame]);
    if (mark) { this.chart.marked = frame; this.chart.draw(); }
  }
  fill(canvas, bytes, k, palette) {
    const { width, height } = this.pixels, g = canvas.getContext("2d"), image = g.createImageData(width, height);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const level = bytes.charCodeAt((k * height + y) * width + x), to = 4 * ((height - 1 - y) * width + x);
      for (let c = 0; c < 3; c++) image.data[to + c] = palette[3 * level + c];
      image.data[to + 3] = 255;
    }
    g.putImageData(image, 0, 0);
  }
}

