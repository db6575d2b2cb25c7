// The detector in a browser: the JavaScript twin of inference/preprocess_numpy.py and
// postprocess_numpy.py around LiteRT.js, and the page's few controls.
const el = (id) => document.getElementById(id);
const about = JSON.parse(el("about").textContent);

async function unpacked(id) {
  const packed = Uint8Array.from(atob(el(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  el(id).remove();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const scriptUrl = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));

// -- picture to input -----------------------------------------------------------------------------

// Pillow's Image.reduce: the mean of k x k pixels, rounded, of a picture far larger than the input.
function shrink(image, [height, width]) {
  const k = Math.min(Math.floor(image.height / (2 * height)), Math.floor(image.width / (2 * width)));
  if (k < 2) return image;
  const h = Math.ceil(image.height / k), w = Math.ceil(image.width / k);
  const data = new Uint8ClampedArray(h * w * 4);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const y2 = Math.min((y + 1) * k, image.height), x2 = Math.min((x + 1) * k, image.width);
    let r = 0, g = 0, b = 0;
    for (let v = y * k; v < y2; v++) for (let u = x * k; u < x2; u++) {
      const p = (v * image.width + u) * 4;
      r += image.data[p]; g += image.data[p + 1]; b += image.data[p + 2];
    }
    const n = (y2 - y * k) * (x2 - x * k), q = (y * w + x) * 4;
    data[q] = Math.floor(r / n + 0.5); data[q + 1] = Math.floor(g / n + 0.5);
    data[q + 2] = Math.floor(b / n + 0.5); data[q + 3] = 255;
  }
  return { data, width: w, height: h };
}

function neighbours(n, to, half) {
  const scale = Math.fround(n / to), first = new Int32Array(to), second = new Int32Array(to);
  const part = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = half ? Math.fround(Math.fround((i + 0.5) * scale) - 0.5) : Math.fround(i * scale);
    const floor = Math.floor(at);
    first[i] = Math.min(Math.max(floor, 0), n - 1);
    second[i] = Math.min(half ? Math.ceil(at) : first[i] + 1, n - 1);
    part[i] = at - floor;
  }
  return [first, second, part];
}

function prepare(image, one) {
  let [h, w] = one.size_hw;
  const [H, W] = one.size_hw;
  if (one.keep_aspect) {
    const factor = Math.min(H / image.height, W / image.width);
    h = Math.min(H, Math.round(image.height * factor));
    w = Math.min(W, Math.round(image.width * factor));
  }
  const out = new Float32Array(H * W * 3), data = image.data;
  const [top, bottom, down] = neighbours(image.height, h, one.half_pixel_centers);
  const [left, right, along] = neighbours(image.width, w, one.half_pixel_centers);
  for (let y = 0; y < h; y++) {
    const a = top[y] * image.width, b = bottom[y] * image.width, v = down[y];
    for (let x = 0; x < w; x++) {
      const u = along[x], l = left[x], r = right[x];
      for (let c = 0; c < 3; c++) {
        const p = data[(a + l) * 4 + c], q = data[(b + l) * 4 + c];
        const upper = p + (data[(a + r) * 4 + c] - p) * u;
        const lower = q + (data[(b + r) * 4 + c] - q) * u;
        out[(y * W + x) * 3 + c] = (upper + (lower - upper) * v) * one.scale[c] + one.offset[c];
      }
    }
  }
  return { inputs: out, filled: [h / H, w / W] };
}

// -- raw boxes to detections ------------------------------------------------------------------------

function iou(a, b) {
  const high = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const wide = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (high <= 0 || wide <= 0) return 0;
  const both = high * wide;
  const union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both;
  return both / Math.max(union, 1e-12);
}
const ACROSS_IOU = 0.6, SECOND_ANSWER = 0.3;
const clipped = (box) => box.map((v) => Math.min(1, Math.max(0, v)));

function postprocess(boxes, scores, threshold) {
  const post = about.postprocess, nClasses = about.classes.length, n = scores.length / nClasses;
  const boxOf = (i) => Array.from(boxes.subarray(4 * i, 4 * i + 4));
  let found = [];
  for (let c = 0; c < nClasses; c++) {
    const order = [];
    for (let i = 0; i < n; i++) {
      const s = scores[i * nClasses + c];
      if (s > post.min_score && s >= threshold) order.push(i);
    }
    order.sort((i, j) => scores[j * nClasses + c] - scores[i * nClasses + c]);
    const kept = [];
    for (const i of order) {
      if (kept.length >= post.max_per_class) break;
      const box = boxOf(i);
      if (kept.some((other) => iou(box, other.raw) > post.iou)) continue;
      kept.push({ raw: box, box: clipped(box), score: scores[i * nClasses + c], class_id: c });
    }
    found.push(...kept);
  }
  found.sort((a, b) => b.score - a.score);
  found = found.slice(0, post.max_total);
  if (post.voting && found.length) {
    const best = new Float32Array(n);
    for (let i = 0; i < n; i++) for (let c = 0; c < nClasses; c++) best[i] = Math.max(best[i], scores[i * nClasses + c]);
    const voters = Array.from(best.keys()).sort((i, j) => best[j] - best[i]).slice(0, post.voters);
    const places = voters.map((i) => clipped(boxOf(i)));
    for (const one of found) {
      const sum = [0, 0, 0, 0];
      let total = 0;
      voters.forEach((i, k) => {
        const overlap = iou(one.box, places[k]);
        if (overlap <= post.vote_iou) return;
        const weight = scores[i * nClasses + one.class_id] * overlap * overlap;
        total += weight;
        for (let j = 0; j < 4; j++) sum[j] += weight * places[k][j];
      });
      one.moved = total > 1e-12 ? sum.map((v) => v / total) : one.box;
    }
    found.forEach((one, i) => {
      let penalty = 0;
      for (let j = 0; j < i; j++) {
        if (found[j].class_id === one.class_id) penalty += iou(one.moved, found[j].moved) ** 2;
      }
      one.rescored = one.score * Math.exp(-penalty / post.soft_nms_sigma);
    });
    for (const one of found) { one.box = one.moved; one.score = one.rescored; }
    found.sort((a, b) => b.score - a.score);
  }
  return found.filter((one) => one.score >= threshold);
}

// inference/suppression.py: of two that overlap the less sure one is dropped or a second answer.
function rescored(detections) {
  const { per_class: perClass, iou: limit } = about.suppression;
  const within = limit ?? Infinity, across = perClass ? Infinity : limit ?? ACROSS_IOU;
  const first = [], ofClass = [];
  for (const one of detections) {
    const isSame = (other) => one.class_id === other.class_id;
    const overlap = (other) => iou(one.xyxy, other.xyxy);
    const isFirst = !first.some((other) => overlap(other) > (isSame(other) ? within : across));
    const stays = !ofClass.some((other) => isSame(other) && overlap(other) > within);
    if (isFirst) first.push(one);
    if (stays) ofClass.push(one);
    one.kept = isFirst || stays;
    one.factor = isFirst ? 1 : SECOND_ANSWER;
  }
  return detections.filter((one) => one.kept)
    .map(({ xyxy, score, class_id, factor }) => ({ xyxy, score: score * factor, class_id }))
    .sort((a, b) => b.score - a.score);
}

// -- the network --------------------------------------------------------------------------------------

let litert, model, inputOrder, boxesOutput;

async function load() {
  const runtime = await import(scriptUrl(await unpacked("runtime")));
  // A module of 20 bytes with a relaxed SIMD instruction: older Safari cannot run it.
  const relaxed = WebAssembly.validate(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15,
    65, 2, 253, 15, 253, 128, 2, 11,
  ]));
  const kind = relaxed ? "relaxed" : "compat";
  window.Module = { wasmBinary: await unpacked(`wasm-${kind}`), locateFile: (path) => path };
  const loader = scriptUrl(await unpacked(`loader-${kind}`));
  await runtime.loadLiteRt(`${loader}#litert_wasm_internal.js`);
  model = await runtime.loadAndCompile(await unpacked("model"), { accelerator: "wasm" });
  litert = runtime;
  const sides = model.getInputDetails().map((d) => Number(d.shape[1]));
  inputOrder = sides.map((side) => about.inputs.findIndex((one) => one.size_hw[0] === side));
  boxesOutput = model.getOutputDetails().findIndex((d) => /boxes/.test(d.name));
}

async function detectPixels(image, threshold) {
  const start = performance.now();
  const prepared = about.inputs.map((one) => prepare(shrink(image, one.size_hw), one));
  const inputs = inputOrder.map((i) => new litert.Tensor(
    prepared[i].inputs, [1, ...about.inputs[i].size_hw, 3]));
  const outputs = await model.run(inputs);
  const values = outputs.map((o) => o.toTypedArray());
  for (const tensor of [...inputs, ...outputs]) tensor.delete();
  // By name where the runtime hands it on; else the boxes are the longer, or with many classes shorter.
  let k = boxesOutput;
  if (k < 0) k = values[0].length * about.classes.length === values[1].length * 4 ? 0 : 1;
  const found = postprocess(values[k], values[1 - k], threshold);
  const [h, w] = prepared[0].filled;
  const scale = [image.height / h, image.width / w, image.height / h, image.width / w];
  const limit = [image.height, image.width, image.height, image.width];
  const detections = found.map((one) => {
    const [y1, x1, y2, x2] = one.box.map((v, i) => Math.min(limit[i], Math.max(0, v * scale[i])));
    return { xyxy: [x1, y1, x2, y2], score: one.score, class_id: one.class_id };
  }).filter(({ xyxy }) => xyxy[2] > xyxy[0] && xyxy[3] > xyxy[1]);
  return {
    detections: rescored(detections).filter((one) => one.score >= threshold),
    ms: performance.now() - start,
  };
}

// -- the page -------------------------------------------------------------------------------------------

const COLORS = ["#e6194b", "#0b6bcb", "#2e8b3d", "#f58231", "#911eb4", "#008080", "#b8860b", "#d6336c"];
const LEAST = 0.05;
const view = el("view"), pen = view.getContext("2d");
const work = document.createElement("canvas"), reader = work.getContext("2d", { willReadFrequently: true });
const video = document.createElement("video");
video.muted = video.playsInline = true;
let stream = null, facing = "environment", last = null, busy = false, fps = 0;

function say(text, isError = false) {
  el("status").textContent = text;
  el("status").classList.toggle("error", isError);
}

function draw() {
  if (!last) return;
  const threshold = Number(el("threshold").value);
  const shown = last.detections.filter((one) => one.score >= threshold);
  view.width = work.width; view.height = work.height;
  pen.drawImage(work, 0, 0);
  const size = Math.max(14, Math.round(Math.max(view.width, view.height) / 40));
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (const { xyxy: [x1, y1, x2, y2], score, class_id } of shown) {
    const text = `${about.classes[class_id]} ${score.toFixed(2)}`, wide = pen.measureText(text).width + 8;
    pen.lineWidth = Math.max(2, size / 6);
    pen.strokeStyle = pen.fillStyle = COLORS[class_id % COLORS.length];
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const left = Math.max(0, Math.min(x1, view.width - wide)), top = Math.max(0, y1 - size - 6);
    pen.fillRect(left, top, wide, size + 6);
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 4, top + 3);
  }
  const counts = about.classes.map((_, c) => shown.filter((one) => one.class_id === c).length);
  el("counts").replaceChildren(...about.classes.map((name, c) => {
    const row = document.createElement("li"), label = document.createElement("span");
    const swatch = document.createElement("i"), count = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = COLORS[c % COLORS.length];
    label.append(swatch, name);
    count.textContent = counts[c];
    row.append(label, count);
    return row;
  }));
  view.setAttribute("aria-label", `${shown.length} detections`);
  el("speed").textContent = stream
    ? `${fps.toFixed(1)} frames per second, ${Math.round(last.ms)} ms each`
    : `${Math.round(last.ms)} ms for this picture`;
}

async function look(source, width, height) {
  work.width = width; work.height = height;
  reader.drawImage(source, 0, 0, width, height);
  last = await detectPixels(reader.getImageData(0, 0, width, height), LEAST);
  el("hint").hidden = true;
  el("snapshot").disabled = false;
  draw();
}

async function run() {
  let before = performance.now();
  while (stream) {
    await look(video, video.videoWidth, video.videoHeight);
    await new Promise(requestAnimationFrame);
    const now = performance.now(), rate = 1000 / (now - before);
    fps = fps ? 0.8 * fps + 0.2 * rate : rate;
    before = now;
  }
  busy = false;
}

function stopCamera() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  video.srcObject = null;
  el("camera").textContent = "Start camera";
  el("turn").disabled = true;
}

async function startCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    say("No camera here: browsers give one to pages from an https address, and some to files on this " +
      "device (Chrome, Edge, Firefox). Opening and dropping pictures works all the same.", true);
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing }, audio: false });
  } catch (error) {
    const cure = error.name === "NotAllowedError" ? "allow this page to use the camera and start again"
      : error.name === "NotFoundError" ? "connect a camera, or open a picture"
      : "close other programs that use the camera and start again";
    say(`The camera cannot be used (${error.name}): ${cure}.`, true);
    return;
  }
  video.srcObject = stream;
  await video.play();
  say("Looking at the camera.");
  el("camera").textContent = "Stop camera";
  el("turn").disabled = false;
  el("turn").textContent = facing === "environment" ? "Front camera" : "Back camera";
  fps = 0;
  if (!busy) { busy = true; run().catch((error) => { stopCamera(); busy = false; say(String(error), true); }); }
}

async function open(file) {
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    say(`${file.name || "This"} is not a picture that this browser can read: use JPEG, PNG or WebP.`, true);
    return;
  }
  say(file.name || "A picture");
  await look(bitmap, bitmap.width, bitmap.height);
}

function snapshot() {
  view.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "detections.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

const actions = {
  camera: () => (stream ? (stopCamera(), say("Camera stopped.")) : startCamera()),
  turn: async () => {
    facing = facing === "environment" ? "user" : "environment";
    stopCamera();
    await startCamera();
  },
  choose: () => el("file").click(),
  snapshot,
};
for (const [id, action] of Object.entries(actions)) el(id).addEventListener("click", action);
el("file").addEventListener("change", (event) => {
  if (event.target.files[0]) open(event.target.files[0]);
  event.target.value = "";
});
el("threshold").value = about.threshold;
const showThreshold = () => { el("shown").textContent = Number(el("threshold").value).toFixed(2); };
showThreshold();
el("threshold").addEventListener("input", () => { showThreshold(); draw(); });
const keys = { c: "camera", f: "turn", o: "choose", s: "snapshot" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const id = keys[event.key.toLowerCase()];
  if (id && !el(id).disabled) el(id).click();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    el("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0] && model) open(event.dataTransfer.files[0]);
  });
}

window.duckdetect = { detectPixels, about };
load().then(
  () => {
    for (const id of ["camera", "choose"]) el(id).disabled = false;
    say("Ready.");
    window.duckdetect.ready = true;
  },
  (error) => {
    window.duckdetect.error = String(error?.stack || error);
    say(`The detector does not start here (${error?.message || error}): use a current browser.`, true);
  },
);
