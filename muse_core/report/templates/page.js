"use strict";
for (const figure of document.querySelectorAll("figure[data-hover]")) {
  const hover = JSON.parse(figure.dataset.hover);
  const image = figure.querySelector("img"), tip = figure.querySelector(".tip");
  let values = null;
  if (hover.kind === "image") {
    const bytes = Uint8Array.from(atob(hover.data), c => c.charCodeAt(0));
    values = new Float32Array(bytes.buffer);
  }
  const short = v => v === null || Number.isNaN(v) ? "no data" : Number(v).toPrecision(4);
  image.addEventListener("pointermove", event => {
    const box = image.getBoundingClientRect(), [left, top, width, height] = hover.box;
    const u = ((event.clientX - box.left) / box.width - left) / width;
    const v = ((event.clientY - box.top) / box.height - top) / height;
    if (u < 0 || u > 1 || v < 0 || v > 1) { tip.style.display = "none"; return; }
    const x = hover.x[0] + u * (hover.x[1] - hover.x[0]);
    if (hover.kind === "image") {
      const y = hover.y[1] + v * (hover.y[0] - hover.y[1]);
      const ix = Math.round(x), iy = Math.round(y), [ny, nx] = hover.shape;
      const kx = Math.floor(ix / hover.step), ky = Math.floor(iy / hover.step);
      const inside = kx >= 0 && ky >= 0 && kx < nx && ky < ny;
      tip.textContent = `spaxel ${ix + 1}, ${iy + 1}: ${hover.name} ${inside ? short(values[ky * nx + kx]) : "no data"}`;
    } else {
      let low = 0, high = hover.at.length - 1;
      while (high - low > 1) { const mid = (low + high) >> 1; if (hover.at[mid] > x) high = mid; else low = mid; }
      const at = x - hover.at[low] < hover.at[high] - x ? low : high;
      const parts = Object.entries(hover.lines).map(([name, y]) => `${name} ${short(y[at])}`);
      tip.textContent = `${hover.first ? hover.first + " " : ""}${hover.at[at]}${hover.unit ? " " + hover.unit : ""}: ${parts.join(", ")}`;
    }
    tip.style.display = "block";
    const room = box.width - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(0, Math.min(event.clientX - box.left + 12, room))}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  });
  image.addEventListener("pointerleave", () => { tip.style.display = "none"; });
}
