const RANGE_DB = 50;

/** Show a peak (0 to 1) on a meter, in decibels from -50 to 0. */
export function showLevel(meter, peak) {
  const share = peak > 0 ? Math.max(0, Math.min(1, 1 + (20 * Math.log10(peak)) / RANGE_DB)) : 0;
  meter.firstElementChild.style.transform = `scaleX(${share.toFixed(3)})`;
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
}
