// What the page asks of its own server, /v1, and of no one else.
import { ask, element } from "./parts.js";

const KEY = "gallery-key";
const LATER = [429, 503]; // asked again after the time that the answer names
const NO_ANSWER = "The server does not answer. Is `gallery serve` still running?";

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, authorization: `Bearer ${key}` } : more;
}

// A key is kept until this tab is closed.
async function askForKey(said) {
  const key = await ask(`${said}. Enter a key, as \`gallery keys create\` printed it.`, "Use it", { entry: "", what: "Key", secret: true });
  if (!key) throw new Error("Without a key the server does not answer.");
  sessionStorage.setItem(KEY, key);
}

export async function call(path, { method = "GET", body = null, times = 3 } = {}) {
  const kind = body === null ? {} : { "content-type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, body: body && JSON.stringify(body), headers: headers(kind) });
  } catch {
    throw new Error(NO_ANSWER);
  }
  if (answer.status === 401 && times > 1) {
    await askForKey("A key is needed");
    return call(path, { method, body, times: times - 1 });
  }
  if (method === "GET" && LATER.includes(answer.status) && times > 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(answer.headers.get("retry-after")) || 1)));
    return call(path, { method, body, times: times - 1 });
  }
  return understood(answer.status, await answer.text());
}

// A form with a photo; progress(share) while it is sent.
export function send(path, form, progress = () => {}, times = 3) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new Error(NO_ANSWER)));
    request.addEventListener("load", async () => {
      try {
        if (request.status === 401 && times > 1) {
          await askForKey("A key is needed");
          resolve(await send(path, form, progress, times - 1));
        } else {
          resolve(understood(request.status, request.responseText));
        }
      } catch (error) {
        reject(error);
      }
    });
    request.send(form);
  });
}

function understood(status, text) {
  let body = {};
  try {
    if (text) body = JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${status}, and not as a gallery does.`); // a proxy's page, perhaps
  }
  if (status >= 400 && !body.enrolments) throw new Error(body.detail || `The server answered ${status}.`);
  return body;
}

// The picture of an enrolled face, or nothing where none is kept.
export async function picture(faceId, alt) {
  const place = element("span");
  place.className = "picture";
  const answer = await fetch(`/v1/faces/${faceId}/thumbnail`, { headers: headers() }).catch(() => null);
  if (answer?.ok) {
    const image = element("img");
    image.alt = alt;
    image.src = URL.createObjectURL(await answer.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    place.append(image);
  } else {
    place.append(element("span", "no picture kept"));
  }
  return place;
}
