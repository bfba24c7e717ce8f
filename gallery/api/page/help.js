// Help opens the topic of the guide that belongs to the current view.
const topics = { ask: "page", people: "page", duplicates: "dedupe", promise: "accuracy" };
const help = document.getElementById("help");

help.addEventListener("click", () => {
  const view = document.querySelector("[data-view][aria-current]").dataset.view;
  help.href = `/guide/${topics[view] ?? "page"}`;
});
