// Keys of every page: / goes to the search field, ? lists the keys.
const keys = document.getElementById("keys");

document.getElementById("keys-open").addEventListener("click", () => keys.showModal());

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (isTyping || keys.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") document.getElementById("q").focus();
  else if (event.key === "?") keys.showModal();
  else return;
  event.preventDefault();
});
