// The video page: citations seek, the sentence and scene that play are marked, files that the
// browser cannot play are fetched as segments.
const video = document.getElementById("player");
const seek = document.getElementById("seek");
const trouble = document.getElementById("trouble");
const duration = Number(video.dataset.duration);
const sentences = [...document.querySelectorAll(".s[data-start]")];
const scenes = [...document.querySelectorAll(".scenes a")];
let stopAt = Infinity;
let usesSegments = false;
let wanted = Number(video.dataset.start); // where to go on when another source is loaded
let wantsPlay = false;

function say(text) {
  trouble.textContent = text;
  trouble.hidden = false;
}

function useSegments() {
  if (usesSegments) {
    say("This browser cannot play the file. The story, the pictures and the search still work.");
    return;
  }
  usesSegments = true;
  video.src = `/v/${encodeURIComponent(video.dataset.id)}/hls/index.m3u8`;
  video.addEventListener("loadedmetadata", () => { video.currentTime = wanted; follow(); }, { once: true });
  video.load();
  if (wantsPlay) video.play().catch(() => {});
}

function play(start, end) {
  wantsPlay = true;
  go(start);
  stopAt = end > start ? end : Infinity;
  video.play().catch(() => {});
}

function go(time) {
  stopAt = Infinity; // who goes elsewhere is not stopped at the end of what was cited
  wanted = Math.max(0, time);
  video.currentTime = wanted;
}

function offer(start, end) {
  const cut = document.getElementById("cut");
  cut.href = `/api/v1/videos/${encodeURIComponent(video.dataset.id)}/clip.mp4?start=${start}&end=${end}`;
  cut.querySelector("span").textContent = `${clock(start)}-${clock(end)}`;
}

function follow() {
  const now = video.currentTime;
  seek.value = now;
  seek.setAttribute("aria-valuetext", clock(now));
  if (now >= stopAt) { video.pause(); stopAt = Infinity; }
  for (const one of sentences) {
    one.classList.toggle("on", now >= Number(one.dataset.start) && now < Number(one.dataset.end));
  }
  let current = null;
  for (const scene of scenes) if (now >= Number(scene.dataset.start)) current = scene;
  for (const scene of scenes) scene.firstElementChild.classList.toggle("now", scene === current);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function show(tab) {
  for (const one of document.querySelectorAll("[role=tab]")) {
    const isShown = one === tab;
    one.setAttribute("aria-selected", isShown);
    one.tabIndex = isShown ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !isShown;
  }
}

document.addEventListener("click", (event) => {
  const cite = event.target.closest("a.cite[data-start]");
  const scene = event.target.closest(".scenes a");
  if (cite) {
    event.preventDefault();
    play(Number(cite.dataset.start), Number(cite.dataset.end));
    offer(Number(cite.dataset.start), Number(cite.dataset.end));
    history.replaceState(null, "", cite.getAttribute("href"));
  } else if (scene) {
    show(document.getElementById("tab-story"));
    go(Number(scene.dataset.start));
  }
});

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    show(next);
    next.focus();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, button, video") || event.ctrlKey || event.metaKey) return;
  const jumps = { j: -10, l: 10, ArrowLeft: -5, ArrowRight: 5 };
  if (event.key in jumps) go(video.currentTime + jumps[event.key]);
  else if (event.key === "k" || event.key === " ") video.paused ? video.play() : video.pause();
  else if (event.key === "[" || event.key === "]") {
    const starts = sentences.map((one) => Number(one.dataset.start)).sort((a, b) => a - b);
    const now = video.currentTime;
    const to = event.key === "]" ? starts.find((t) => t > now + 0.5) : starts.filter((t) => t < now - 1).pop();
    if (to !== undefined) go(to);
  } else return;
  event.preventDefault();
});

seek.addEventListener("input", () => go(Number(seek.value)));
video.addEventListener("timeupdate", follow);
video.addEventListener("error", useSegments);
video.querySelector("source")?.addEventListener("error", useSegments);
video.addEventListener("loadedmetadata", () => {
  const noPicture = video.videoWidth === 0 && duration > 0 && !usesSegments && video.dataset.native === "yes";
  if (noPicture || video.duration === Infinity) useSegments();
});

show(document.getElementById("tab-story"));
if (video.dataset.native === "no") useSegments();
const start = Number(video.dataset.start);
if (start > 0) {
  stopAt = Number(video.dataset.end) > start ? Number(video.dataset.end) : Infinity;
  video.addEventListener("loadedmetadata", () => { video.currentTime = start; follow(); }, { once: true });
  if (video.readyState >= 1) video.currentTime = start;
}
