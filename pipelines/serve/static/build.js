// The library page: follow running builds by server-sent events, and show the result when one ends.
for (const section of document.querySelectorAll(".job[data-job]")) {
  const bar = section.querySelector("progress");
  const told = section.querySelector(".told");
  const source = new EventSource(`/api/v1/builds/${section.dataset.job}/events`);
  source.addEventListener("message", (message) => {
    const event = JSON.parse(message.data);
    if (event.kind === "end") {
      source.close();
      location.reload();
      return;
    }
    if (event.total) { bar.max = event.total; bar.value = event.done; }
    const name = event.name || "";
    if (event.kind === "clip") told.textContent = `${name}: clip ${event.done} of ${event.total}`;
    else if (event.kind === "track") told.textContent = `${name}: ${event.text}, ${event.done} of ${event.total} s`;
    else if (event.text || name) told.textContent = [name, event.text].filter(Boolean).join(": ");
  });
}
