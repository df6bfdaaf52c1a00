// One number over the last half minute, as a line on a fixed scale.

const POINTS = 120; // four a second
const WIDTH = 120;
const HEIGHT = 32;

export class Sparkline {
  #values = [];
  #line;
  #top;

  /** The SVG's `data-top` is the value at its upper edge, and `data-target` is where a limit is drawn. */
  constructor(svg) {
    this.#line = svg.querySelector("polyline");
    this.#top = Number(svg.dataset.top);
    const target = svg.querySelector("line");
    if (target) {
      const y = this.#y(Number(svg.dataset.target));
      for (const [name, value] of Object.entries({ x1: 0, x2: WIDTH, y1: y, y2: y })) target.setAttribute(name, value);
    }
  }

  push(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#draw();
  }

  clear() {
    this.#values.length = 0;
    this.#draw();
  }

  #draw() {
    const point = (value, i) => `${(i * WIDTH) / (POINTS - 1)},${this.#y(value)}`;
    this.#line.setAttribute("points", this.#values.map(point).join(" "));
  }

  #y(value) {
    return HEIGHT - 1 - ((HEIGHT - 2) * Math.min(value, this.#top)) / this.#top;
  }
}
