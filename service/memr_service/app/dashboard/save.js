/** Saves charts and tables as files. */

const FORMULA = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Let the browser save a blob. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Save columns as CSV. Missing values are empty fields. */
export function saveTable(name, titles, columns) {
  const lines = columns[0].map((_, row) => columns.map((column) => field(column[row] ?? "")).join(","));
  save(new Blob([[titles.map(field).join(","), ...lines, ""].join("\n")], { type: "text/csv" }), `${name}.csv`);
}

/** A value as a field of CSV. A text that a spreadsheet could take for a formula gets an apostrophe before it. */
export function field(value) {
  const formula = typeof value === "string" && FORMULA.test(value) && !NUMBER.test(value);
  const text = formula ? `'${value}` : String(value);
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Save a canvas as PNG with its title, a note, the page's background and a legend ([{ label, stroke, dash }]). */
export function savePicture(name, note, canvas, legend, { ink, paper }) {
  const scale = devicePixelRatio;
  const line = 22 * scale;
  const out = document.createElement("canvas");
  out.width = canvas.width;
  out.height = canvas.height + line * (2.5 + legend.length);
  const draw = out.getContext("2d");
  draw.fillStyle = paper;
  draw.fillRect(0, 0, out.width, out.height);
  draw.drawImage(canvas, 0, 2.5 * line);
  draw.fillStyle = ink;
  draw.font = `600 ${15 * scale}px system-ui, sans-serif`;
  draw.fillText(name, 10 * scale, line, out.width - 20 * scale);
  draw.font = `${13 * scale}px system-ui, sans-serif`;
  draw.fillText(note, 10 * scale, 1.9 * line, out.width - 20 * scale);
  legend.forEach(({ label, stroke, dash }, number) => {
    const y = canvas.height + line * (3.1 + number);
    draw.strokeStyle = stroke;
    draw.lineWidth = 3 * scale;
    draw.setLineDash((dash ?? []).map((one) => one * scale));
    draw.beginPath();
    draw.moveTo(10 * scale, y - 4 * scale);
    draw.lineTo(50 * scale, y - 4 * scale);
    draw.stroke();
    draw.fillText(label, 60 * scale, y);
  });
  out.toBlob((blob) => save(blob, `${name}.png`));
}
