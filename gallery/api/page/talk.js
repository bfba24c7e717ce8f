// What the page asks of its own server, /v1, and of no one else.
import { ask } from "./dialog.js";
import { $, element, fileName, guarded, plain, say } from "./parts.js";

const KEY = "gallery-key"; // kept until this tab is closed
const LATER = [429, 503]; // asked again after the time that the answer names
const NO_ANSWER = "The server does not answer. Is `gallery serve` still running?";
const pictures = new Map(); // of faces: being fetched now; and null, where none is kept
let asking = null;

function bearer(key = sessionStorage.getItem(KEY)) {
  return key ? { authorization: `Bearer ${key}` } : {};
}

function reach(path, options = {}) {
  return fetch(path, { headers: bearer(), ...options }).catch(() => {
    throw new Error(NO_ANSWER);
  });
}

async function tried(key) {
  const answer = /^[!-~]+$/.test(key) ? await reach("/v1/calibration", { headers: bearer(key) }) : null;
  if (!answer || answer.status === 401) throw new Error("This key was not accepted.");
  keep(key);
  return key;
}

function keep(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  $("keyring").hidden = !key;
}

// One dialog, however many requests wait for it.
function askForKey(question, wrong = "") {
  asking ??= ask(question, "Use it", { entry: "", what: "Key", secret: true, wrong, act: tried }).finally(() => (asking = null));
  return asking;
}

// request(): status and text of an answer. Where a key is missing it is asked for, then asked again.
async function answered(request) {
  for (;;) {
    const used = sessionStorage.getItem(KEY);
    const { status, text } = await request();
    if (status !== 401) return understood(status, text);
    if (sessionStorage.getItem(KEY) !== used) continue; // another request has asked for it
    const wrong = used ? "The key that was kept is not accepted any more." : "";
    if (!(await askForKey("A key is needed. Enter one, as `gallery keys create` printed it.", wrong))) {
      throw new Error("Without a key the server does not answer.");
    }
  }
}

function understood(status, text) {
  let body = {};
  try {
    if (text) body = JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${status}, and not as this page expects.`);
  }
  if (status >= 400 && !body.enrolments) {
    throw Object.assign(new Error(body.detail ? plain(body.detail) : `The server answered ${status}.`), { status });
  }
  return body;
}

export function call(path, { method = "GET", body = null } = {}) {
  return answered(async () => {
    const kind = body === null ? {} : { "content-type": "application/json" };
    const asked = { method, body: body && JSON.stringify(body), headers: { ...kind, ...bearer() } };
    let answer = await reach(path, asked);
    for (let again = 0; method === "GET" && LATER.includes(answer.status) && again < 2; again++) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(answer.headers.get("retry-after")) || 1)));
      answer = await reach(path, asked);
    }
    return { status: answer.status, text: await answer.text() };
  });
}

// What can be told without asking for a key, or null.
export async function glance(path) {
  const answer = await reach(path).catch(() => null);
  return answer?.ok ? answer.json() : null;
}

// A form with a photo; progress(share) while it is sent.
export function send(path, form, progress = () => {}) {
  return answered(() => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(bearer())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new Error(NO_ANSWER)));
    request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
    request.send(form);
  }));
}

function pictureOf(id) {
  const fetched = async () => {
    const answer = await reach(`/v1/faces/${id}/thumbnail`).catch(() => null);
    if (answer?.status !== 404) pictures.delete(id);
    return answer?.ok ? answer.blob() : null;
  };
  if (!pictures.has(id)) pictures.set(id, fetched());
  return pictures.get(id);
}

// The picture of an enrolled face with its photo's name; where none is kept, the name in its place.
export async function picture({ face_id: id, photo, thumbnail }, alt) {
  const place = Object.assign(element("span"), { className: "picture" });
  const jpeg = thumbnail === false ? null : await pictureOf(id);
  if (!jpeg) {
    place.classList.add("none");
    place.append(fileName(photo));
    return place;
  }
  const image = Object.assign(element("img"), { alt, src: URL.createObjectURL(jpeg) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  place.append(image);
  return element("span", "", place, fileName(photo));
}

export function start() {
  $("keyring").hidden = !sessionStorage.getItem(KEY);
  $("other-key").addEventListener("click", guarded(async () => {
    if (await askForKey("Another key, as `gallery keys create` printed it.")) say("This key is used from now on.");
  }));
  $("forget-key").addEventListener("click", guarded(() => {
    keep(null);
    say("The key is forgotten.");
  }));
}
