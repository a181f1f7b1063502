// Data blocks: base64 of gzip of JSON, unpacked when they are asked for.
async function unpacked(name) {
  const block = await found(name);
  const bytes = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// The texts stand behind this script: they may still be on their way.
async function found(name) {
  const loaded = document.readyState !== "loading";
  const block = document.getElementById(name);
  if (block && (loaded || block.nextSibling)) return block;
  if (!loaded) await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
  return document.getElementById(name);
}

// The last few chunks are kept unpacked.
const unpackedChunks = new Map();

function chunkAt(start) {
  const there = unpackedChunks.get(start) ?? unpacked(`texts-${start}`);
  unpackedChunks.delete(start);
  unpackedChunks.set(start, there);
  if (unpackedChunks.size > 6) unpackedChunks.delete(unpackedChunks.keys().next().value);
  return there;
}
