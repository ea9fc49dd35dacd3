// The image of one micrograph: draws the tiles of a pyramid at any zoom, and converts between screen
// and image coordinates. Positions are px of the micrograph; pixel centres are at whole numbers, as
// in coordinate files.

const MOST_TILES = 400;
const MOST_LOADING = 8;

export class View {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.tiles = new Map();  // address -> image, least recently used first
    this.loading = new Set();
    this.waiting = [];
    this.image = null;
    this.zoom = 1;  // CSS px per px of the micrograph
    this.x = this.y = 0;  // image position at the centre of the view
    this.sigma = 0;
    this.resize();
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.width = Math.max(box.width, 1);
    this.height = Math.max(box.height, 1);
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
  }

  // image: {index, nx, ny, levels, tile}
  show(image) {
    this.image = image;
    this.fit();
  }

  fit() {
    if (!this.image) return;
    const {nx, ny} = this.image;
    this.x = (nx - 1) / 2;
    this.y = (ny - 1) / 2;
    this.zoom = this.smallest();
  }

  smallest() {
    const {nx, ny} = this.image;
    return Math.min(this.width / nx, this.height / ny) * 0.98;
  }

  toScreen(x, y) {
    return [(x - this.x) * this.zoom + this.width / 2, (y - this.y) * this.zoom + this.height / 2];
  }

  toImage(sx, sy) {
    return [(sx - this.width / 2) / this.zoom + this.x, (sy - this.height / 2) / this.zoom + this.y];
  }

  // Zoom around a point of the screen.
  zoomBy(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toImage(sx, sy);
    this.zoom = Math.min(Math.max(this.zoom * factor, Math.min(this.smallest() / 1.5, 1)), 16);
    this.x = x - (sx - this.width / 2) / this.zoom;
    this.y = y - (sy - this.height / 2) / this.zoom;
    this.bound();
  }

  moveBy(dx, dy) {
    this.x -= dx / this.zoom;
    this.y -= dy / this.zoom;
    this.bound();
  }

  bound() {
    const {nx, ny} = this.image;
    this.x = Math.min(Math.max(this.x, 0), nx - 1);
    this.y = Math.min(Math.max(this.y, 0), ny - 1);
  }

  // Bring an area into view, with a margin.
  frame([x0, y0, x1, y1], share = 0.8) {
    this.x = (x0 + x1 - 1) / 2;
    this.y = (y0 + y1 - 1) / 2;
    this.zoom = Math.min(this.width / (x1 - x0), this.height / (y1 - y0), 20) * share;
  }

  keepInView(x, y, margin = 60) {
    const [sx, sy] = this.toScreen(x, y);
    const dx = sx < margin ? sx - margin : Math.max(sx - this.width + margin, 0);
    const dy = sy < margin ? sy - margin : Math.max(sy - this.height + margin, 0);
    if (dx || dy) this.moveBy(-dx, -dy);
  }

  // The level whose pixels are about as large as the screen's, or coarser where the low-pass leaves
  // no finer detail.
  level() {
    const last = this.image.levels - 1;
    const wanted = Math.floor(-Math.log2(this.zoom * this.ratio) + 0.3);
    const blurred = this.sigma > 0 ? Math.floor(Math.log2(this.sigma / 1.5)) : 0;
    return Math.min(Math.max(wanted, blurred, 0), last);
  }

  address(level, row, column) {
    return `tiles/${this.image.index}/${this.sigma.toFixed(2)}/${level}/${row}/${column}`;
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.imageSmoothingEnabled = this.zoom < 4;
    const wanted = this.level();
    this.waiting = [];
    // Coarse tiles fill in while finer ones are loading.
    for (let level = this.image.levels - 1; level >= wanted; level--) this.drawLevel(context, level, wanted);
    this.load();
    this.complete = this.waiting.length === 0 && this.loading.size === 0;
  }

  drawLevel(context, level, wanted) {
    const {nx, ny, tile, levels} = this.image;
    const step = tile * 2 ** level;
    const [x0, y0] = this.toImage(0, 0);
    const [x1, y1] = this.toImage(this.width, this.height);
    const columns = Math.ceil(Math.floor(nx / 2 ** level) / tile);
    const rows = Math.ceil(Math.floor(ny / 2 ** level) / tile);
    const clamp = (value, most) => Math.min(Math.max(value, 0), most);
    for (let row = clamp(Math.floor(y0 / step), rows); row <= clamp(Math.floor(y1 / step), rows - 1); row++) {
      for (let column = clamp(Math.floor(x0 / step), columns); column <= clamp(Math.floor(x1 / step), columns - 1); column++) {
        const address = this.address(level, row, column);
        const picture = this.tiles.get(address);
        if (picture) {
          this.tiles.delete(address);
          this.tiles.set(address, picture);
          const [sx, sy] = this.toScreen(column * step - 0.5, row * step - 0.5);
          const scale = this.zoom * 2 ** level;
          context.drawImage(picture, sx, sy, picture.naturalWidth * scale, picture.naturalHeight * scale);
        } else if (level === wanted || level === levels - 1) {
          this.waiting.push(address);
        }
      }
    }
  }

  load() {
    for (const address of this.waiting) {
      if (this.loading.size >= MOST_LOADING) break;
      if (this.loading.has(address)) continue;
      this.loading.add(address);
      const picture = new Image();
      const settle = () => { this.loading.delete(address); this.changed(); };
      picture.onload = () => {
        this.tiles.set(address, picture);
        while (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
        settle();
      };
      // The next redraw retries; wait first, or a server that is down would be flooded.
      picture.onerror = () => setTimeout(settle, 2000);
      picture.src = address;
    }
    this.waiting = this.waiting.filter((address) => !this.loading.has(address));
  }
}
