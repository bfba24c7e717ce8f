// Who is enrolled twice: a job on the server, then pairs side by side, and a decision for each.
import { $, button, counted, element, fileOf, guarded, percent, row, say } from "./parts.js";
import { eraseFace, merge } from "./people.js";
import { call, picture } from "./talk.js";

const POLL = 400; // milliseconds
let job = null;

async function look() {
  $("pairs").replaceChildren();
  $("twice").replaceChildren();
  $("doubted").replaceChildren();
  $("compared").hidden = $("stop").hidden = false;
  say("Comparing everyone with everyone ...");
  try {
    job = await call("/v1/dedupe", { method: "POST" });
    while (job.state === "queued" || job.state === "running") {
      $("compared").value = job.total ? job.done / job.total : 0;
      await new Promise((resolve) => setTimeout(resolve, POLL));
      job = await call(`/v1/jobs/${job.id}`);
    }
  } finally {
    $("compared").hidden = $("stop").hidden = true;
  }
  if (job.state === "failed") throw new Error(job.error);
  if (job.state === "cancelled") return say("Stopped.");
  await show();
  say(summary(job.result));
}

function summary(result) {
  const { same_people: { length: pairs }, misfiled: { length: doubted }, identities } = result;
  const twice = facesTwice(result).length;
  const people = `${counted(identities, "person was", "people were")} compared`;
  if (!pairs && !twice && !doubted) return `${people}; nobody seems to be enrolled twice, or under a wrong name.`;
  const one = pairs ? counted(pairs, "pair seems", "pairs seem") : "no two seem";
  const faces = twice ? `, and ${counted(twice, "picture of a face is", "pictures of a face are")} enrolled twice` : "";
  const wrong = doubted ? `, and ${counted(doubted, "face seems", "faces seem")} to be under a wrong name` : "";
  return `${people}: ${one} to be one person${faces}${wrong}.`;
}

async function again() {
  if (!job) return;
  job = await call(`/v1/jobs/${job.id}`);
  await show();
}

async function show() {
  const pairs = await Promise.all(job.result.same_people.map(pair));
  const twice = await Promise.all(facesTwice(job.result).map(sameFace));
  const doubted = await Promise.all(job.result.misfiled.map(wrongName));
  $("pairs").replaceChildren(...pairs);
  $("doubted").replaceChildren(...doubted);
  $("twice").replaceChildren(...twice);
}

// Less those of a pair, which is shown as that.
function facesTwice({ same_people: pairs, same_faces: faces }) {
  const named = new Set(pairs.map(({ identities }) => key(identities)));
  return faces.filter((found) => !named.has(key(found.faces.map((face) => face.identity))));
}

function key(identities) {
  return identities.map((one) => one.id).sort().join();
}

async function side(person, face, ...buttons) {
  const faces = person.faces ? [element("p", counted(person.faces, "face"))] : [];
  return element("div", "", await picture(face, `Enrolled face of ${person.name}`), element("h2", person.name), ...faces, ...buttons);
}

async function pair({ identities: [one, two], probability, deciding: [first, second] }) {
  const beside = element("div", "", await side(one, first), await side(two, second));
  beside.className = "beside";
  const decided = (kept, other) => async () => {
    await merge(kept, other, again);
    await again();
  };
  const apart = async () => {
    await call(`/v1/identities/${one.id}/distinct/${two.id}`, { method: "PUT" });
    await again();
    const undo = async () => {
      await call(`/v1/identities/${one.id}/distinct/${two.id}`, { method: "DELETE" });
      say("They are compared again.");
      await again();
    };
    say(`${one.name} and ${two.name} are two people, and are not named again.`, { offers: [button("Undo", "Undo that", undo)] });
  };
  return element("li", "", element("p", `One person? ${percent(probability)}`), beside, row(
    button(`Same: keep ${one.name}`, `${one.name} and ${two.name} are one person, called ${one.name}`, decided(one, two), false),
    button(`Same: keep ${two.name}`, `${one.name} and ${two.name} are one person, called ${two.name}`, decided(two, one), false),
    button("Two people", `${one.name} and ${two.name} are two people`, apart)));
}

async function wrongName({ face, suggested, probability, nearest, why }) {
  const owner = face.identity;
  const file = fileOf(face.photo);
  const beside = element("div", "", await side(owner, face), await side(nearest.identity, nearest));
  beside.className = "beside";
  const move = async () => {
    await call(`/v1/faces/${face.face_id}/identity/${suggested.id}`, { method: "PUT" });
    await again();
    const undo = async () => {
      await call(`/v1/faces/${face.face_id}/identity/${owner.id}`, { method: "PUT" });
      say(`It is ${owner.name} again.`);
      await again();
    };
    say(`${file} is ${suggested.name} now.`, { offers: [button("Undo", "Undo that", undo)] });
  };
  const right = async () => {
    await call(`/v1/faces/${face.face_id}/right`, { method: "PUT" });
    await again();
    const undo = async () => {
      await call(`/v1/faces/${face.face_id}/right`, { method: "DELETE" });
      say("It is looked at again.");
      await again();
    };
    say(`${file} is ${owner.name}, and is not doubted again.`, { offers: [button("Undo", "Undo that", undo)] });
  };
  const moves = suggested ? [button(`It is ${suggested.name}`, `Put ${file} under ${suggested.name}`, move, false)] : [];
  return element("li", "", element("p", `Under a wrong name? ${percent(probability)}: ${why}.`), beside, row(
    ...moves,
    button(`It is ${owner.name}`, `${file} is ${owner.name}`, right, false),
    button("Erase this face", `Erase the face ${file} of ${owner.name}`, () => eraseFace(face.face_id, owner, again))));
}

async function sameFace({ faces, similarity }) {
  const sides = faces.map((face) => {
    const label = `Erase the face ${fileOf(face.photo)} of ${face.identity.name}`;
    return side(face.identity, face, button("Erase this face", label, () => eraseFace(face.face_id, face.identity, again)));
  });
  const beside = Object.assign(element("div", "", ...(await Promise.all(sides))), { className: "beside" });
  return element("li", "", element("p", `One picture of a face, enrolled twice (cosine ${similarity.toFixed(3)})`), beside);
}

export function start() {
  $("look").addEventListener("click", guarded(look));
  $("stop").addEventListener("click", guarded(async () => {
    if (job) await call(`/v1/jobs/${job.id}/cancel`, { method: "POST" });
  }));
}
