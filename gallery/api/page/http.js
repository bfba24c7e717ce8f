// Requests to /v1 of the page's own server, with the API key where one is needed.
import { ask } from "./dialog.js";
import { $, element, fileLabel, handler, showStatus, withPercent } from "./elements.js";

const KEY = "gallery-key"; // in session storage: until the tab is closed
const RETRY_STATUSES = [429, 503];
const NO_ANSWER = "The server does not answer. Is `gallery serve` still running?";
const KEY_HELP = "as printed by `gallery keys create`";
const thumbnails = new Map(); // promises by face id: requests under way, and faces without one
let keyDialog = null;

// The server may be below a path of its host; this file is one folder below the server's root.
function address(path) {
  return new URL(`..${path}`, import.meta.url);
}

function bearer(key = sessionStorage.getItem(KEY)) {
  return key ? { authorization: `Bearer ${key}` } : {};
}

function fetchWithKey(path, options = {}) {
  return fetch(address(path), { headers: bearer(), ...options }).catch(() => {
    throw new Error(NO_ANSWER);
  });
}

async function testKey(key) {
  const response = /^[!-~]+$/.test(key) ? await fetchWithKey("/v1/calibration", { headers: bearer(key) }) : null;
  if (!response || response.status === 401) throw new Error("This key is not valid.");
  storeKey(key);
  return key;
}

function storeKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  $("keyring").hidden = !key;
}

// All waiting requests share one dialog.
function askForKey(question, message = "") {
  keyDialog ??= ask(question, "Use this key", { entry: "", label: "Key", isSecret: true, message, act: testKey }).finally(() => (keyDialog = null));
  return keyDialog;
}

// request(): resolves to status and text. If the server needs a key, ask for one and try again.
async function withKey(request) {
  for (;;) {
    const used = sessionStorage.getItem(KEY);
    const { status, text } = await request();
    if (status !== 401) return parsed(status, text);
    if (sessionStorage.getItem(KEY) !== used) continue; // another request has got a new key
    const message = used ? "The key is no longer valid." : "";
    if (!(await askForKey(`This gallery needs a key, ${KEY_HELP}.`, message))) {
      throw new Error("This gallery needs a key.");
    }
  }
}

function parsed(status, text) {
  let body = {};
  try {
    if (text) body = JSON.parse(text);
  } catch {
    throw new Error(`Unexpected answer from the server (status ${status}).`);
  }
  if (status >= 400 && !body.enrolments) {
    throw Object.assign(new Error(body.detail ? withPercent(body.detail) : `The server answered with status ${status}.`), { status });
  }
  return body;
}

export function callApi(path, { method = "GET", body = null } = {}) {
  return withKey(async () => {
    const type = body === null ? {} : { "content-type": "application/json" };
    const options = { method, body: body && JSON.stringify(body), headers: { ...type, ...bearer() } };
    let response = await fetchWithKey(path, options);
    for (let retries = 0; method === "GET" && RETRY_STATUSES.includes(response.status) && retries < 2; retries++) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(response.headers.get("retry-after")) || 1)));
      response = await fetchWithKey(path, options);
    }
    return { status: response.status, text: await response.text() };
  });
}

// The JSON if no new key is needed for it, else null.
export async function callIfOpen(path) {
  const response = await fetchWithKey(path).catch(() => null);
  return response?.ok ? response.json() : null;
}

// Upload a form; progress(share) is called meanwhile.
export function postForm(path, form, progress = () => {}) {
  return withKey(() => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    for (const [name, value] of Object.entries(bearer())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new Error(NO_ANSWER)));
    request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
    request.send(form);
  }));
}

function thumbnailBlob(id) {
  const load = async () => {
    const response = await fetchWithKey(`/v1/faces/${id}/thumbnail`).catch(() => null);
    if (response?.status !== 404) thumbnails.delete(id);
    return response?.ok ? response.blob() : null;
  };
  if (!thumbnails.has(id)) thumbnails.set(id, load());
  return thumbnails.get(id);
}

// The thumbnail of an enrolled face over its photo's name, or the name alone if there is none.
export async function thumbnail({ face_id: id, photo, thumbnail }, alt) {
  const frame = Object.assign(element("span"), { className: "picture" });
  const jpeg = thumbnail === false ? null : await thumbnailBlob(id);
  if (!jpeg) {
    frame.classList.add("none");
    frame.append(fileLabel(photo));
    return frame;
  }
  const image = Object.assign(element("img"), { alt, src: URL.createObjectURL(jpeg) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  frame.append(image);
  return element("span", "", frame, fileLabel(photo));
}

export function start() {
  $("keyring").hidden = !sessionStorage.getItem(KEY);
  $("other-key").addEventListener("click", handler(async () => {
    if (await askForKey(`Enter another key, ${KEY_HELP}.`)) showStatus("Key changed.");
  }));
  $("forget-key").addEventListener("click", handler(() => {
    storeKey(null);
    showStatus("Key removed.");
  }));
}
