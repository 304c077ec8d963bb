// Packs a folder into a zip file without compression (APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16), since
// pictures are packed already. Its parts are the files themselves, so nothing but one file at a time is in memory. It
// goes to the upload button beside, as if it had been chosen there.
const button = element.querySelector('button');
const field = element.querySelector('input');
const said = element.querySelector('[role=status]');
const words = button.textContent;
const table = Uint32Array.from({length: 256}, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xEDB88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
function checksum(bytes) {
  let sum = 0xFFFFFFFF;
  for (const byte of bytes) sum = table[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}
function record(signature, size, fields) {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(0, signature, true);
  for (const [place, bytes, value] of fields) view[`setUint${8 * bytes}`](place, value, true);
  return view.buffer;
}
async function pack(files) {
  const parts = [], entries = [], names = new TextEncoder();
  let at = 0, listed = 0;
  for (const [i, file] of files.entries()) {
    const name = names.encode(file.webkitRelativePath);
    const sum = checksum(new Uint8Array(await file.arrayBuffer()));
    // From version 2.0, name in UTF-8, not compressed, date 1 January 1980, checksum, sizes, length of the name.
    const common = start => [[start, 2, 20], [start + 2, 2, 2048], [start + 8, 2, 33], [start + 10, 4, sum],
      [start + 14, 4, file.size], [start + 18, 4, file.size], [start + 22, 2, name.length]];
    parts.push(record(0x04034B50, 30, common(4)), name, file);
    entries.push(record(0x02014B50, 46, [[4, 2, 20], ...common(6), [42, 4, at]]), name);
    at += 30 + name.length + file.size;
    listed += 46 + name.length;
    if (i % 100 === 0) button.textContent = `Packing ${i + 1} of ${files.length}`;
  }
  const count = files.length;
  const end = record(0x06054B50, 22, [[8, 2, count], [10, 2, count], [12, 4, listed], [16, 4, at]]);
  return new Blob([...parts, ...entries, end], {type: 'application/zip'});
}
button.addEventListener('click', () => field.click());
field.addEventListener('change', async () => {
  const files = [...field.files].filter(file => !file.name.startsWith('.'));
  field.value = '';
  if (!files.length) return;
  const size = files.reduce((sum, file) => sum + file.size, 0);
  said.textContent = '';
  if (files.length > 65535 || size > 4e9) {
    said.textContent = `This folder has ${files.length.toLocaleString('en')} files, ${(size / 1e9).toFixed(1)} GB; ` +
      'a browser packs 65,535 files and 4 GB at most. Zip it yourself.';
    return;
  }
  button.disabled = true;
  try {
    const zip = new DataTransfer();
    zip.items.add(new File([await pack(files)], `${files[0].webkitRelativePath.split('/')[0]}.zip`));
    const target = document.querySelector(props.target);
    target.files = zip.files;
    target.dispatchEvent(new Event('change', {bubbles: true}));
  } catch (error) {
    said.textContent = `The folder could not be read (${error.message}).`;
  }
  button.textContent = words;
  button.disabled = false;
});
