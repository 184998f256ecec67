// Creates sample files in the browser: a large CSV of sales, a few seconds of video.

const CSV_ROWS = 50_000;
/** Rows generated without a pause, so that the page stays responsive. */
const ROWS_AT_ONCE = 5000;
const VIDEO_MS = 3000;

/** No sample could be created; the message is for users. */
export class NoSample extends Error {}

/**
 * @param {string} mediaType  the file field's `contentMediaType`; "" if it names none
 * @param {(activity: string) => void} report
 * @returns {Promise<File>}
 * @throws {NoSample}
 */
export async function sampleFile(mediaType, report) {
  if (mediaType === "text/csv") {
    report(`Generating a CSV file with ${CSV_ROWS.toLocaleString("en")} rows…`);
    return csvFile(CSV_ROWS);
  }
  if (mediaType.startsWith("video/")) {
    report(`Recording ${VIDEO_MS / 1000} s of video…`);
    return videoFile(VIDEO_MS);
  }
  if (mediaType.startsWith("text/")) {
    return new File(["One line.\nAnother line.\n"], "sample.txt", { type: mediaType });
  }
  throw new NoSample("There is no sample for this type of file. Choose a file yourself.");
}

/**
 * Two years of sales with plausible seasons, prices and regions.
 *
 * @param {number} rows
 * @returns {Promise<File>}
 */
export async function csvFile(rows) {
  const regions = ["North", "South", "East", "West"];
  const products = [["Kettle", 34.9], ["Lamp", 59], ["Desk", 249], ["Chair", 129.5], ["Mug", 8.95]];
  const random = seededRandom(20_260_101);
  const pick = (/** @type {any[]} */ list) => list[Math.floor(random() * list.length)];
  const start = Date.UTC(2024, 0, 1);
  const parts = ["date,order_id,region,product,quantity,unit_price,amount\n"];
  for (let row = 0; row < rows; row += ROWS_AT_ONCE) {
    let chunk = "";
    for (let i = row; i < Math.min(row + ROWS_AT_ONCE, rows); i += 1) {
      const day = new Date(start + Math.floor((i / rows) * 730) * 86_400_000);
      const season = 1 + 0.5 * Math.cos((day.getUTCMonth() - 11) * (Math.PI / 6));
      const [product, listPrice] = pick(products);
      const quantity = 1 + Math.floor(random() * 6 * season);
      const price = listPrice * (0.9 + random() * 0.2);
      chunk += `${day.toISOString().slice(0, 10)},${100_000 + i},${pick(regions)},${product},`
        + `${quantity},${price.toFixed(2)},${(quantity * price).toFixed(2)}\n`;
    }
    parts.push(chunk);
    await new Promise((resolve) => setTimeout(resolve));
  }
  return new File(parts, "sample-sales.csv", { type: "text/csv" });
}

/** Seeded (mulberry32): the sample is always the same, so that runs can be compared. @param {number} seed */
function seededRandom(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** @param {number} ms @returns {Promise<File>} */
async function videoFile(ms) {
  const type = ["video/mp4", "video/webm;codecs=vp8", "video/webm"]
    .find((name) => globalThis.MediaRecorder?.isTypeSupported(name));
  const canvas = document.createElement("canvas");
  if (!type || !canvas.captureStream) {
    throw new NoSample("This browser cannot record a sample video. Choose a file yourself.");
  }
  canvas.width = 640;
  canvas.height = 360;
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: type });
  /** @type {Blob[]} */
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((resolve, reject) => {
    recorder.onstop = resolve;
    recorder.onerror = () => reject(new NoSample("Recording a sample video failed. Choose a file yourself."));
  });
  recorder.start();
  await animate(canvas, ms);
  recorder.stop();
  await ended;
  const [mediaType] = type.split(";");
  return new File(parts, `sample.${mediaType.split("/")[1]}`, { type: mediaType });
}

/** @param {HTMLCanvasElement} canvas @param {number} ms @returns {Promise<void>} */
function animate(canvas, ms) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const start = performance.now();
  return new Promise((resolve) => {
    // A timer instead of animation frames, which stop in a hidden tab, and the recording with them.
    const timer = setInterval(() => {
      const t = (performance.now() - start) / ms;
      if (t >= 1) {
        clearInterval(timer);
        return resolve();
      }
      context.fillStyle = `hsl(${200 + 60 * t} 60% 30%)`;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = "white";
      context.fillRect(40, 300, 560 * t, 16);
      context.beginPath();
      context.arc(40 + 560 * t, 150 + 60 * Math.sin(t * 12), 40, 0, 7);
      context.fill();
    }, 40);
  });
}
