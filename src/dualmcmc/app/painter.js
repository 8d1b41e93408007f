// A mask of size x size cells over props.picture. props.value holds it as text, 1 for each hidden cell.
const canvas = element.querySelector('canvas');
const brush = element.querySelector('.dm-brush');
const erase = element.querySelector('.dm-erase');
const size = props.size, side = Math.max(1, Math.round(448 / size));
const picture = new Image();
let hidden = [...props.value].map(Number), at = [size >> 1, size >> 1], before = null;

canvas.width = canvas.height = size * side;
brush.max = Math.max(2, size >> 1);
brush.value = Math.max(1, size >> 3);

function paint() {
  const pen = canvas.getContext('2d');
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = '#888';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (picture.complete && picture.naturalWidth) pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  hidden.forEach((on, i) => {
    if (!on) return;
    const x = (i % size) * side, y = Math.floor(i / size) * side;
    pen.fillStyle = '#e0662f';
    pen.fillRect(x, y, side, side);
    pen.fillStyle = 'rgba(255, 255, 255, 0.22)';
    pen.fillRect(x, y, side - 1, side - 1);
  });
  if (document.activeElement === canvas && canvas.matches(':focus-visible')) {
    pen.strokeStyle = '#2f7de0';
    pen.lineWidth = 3;
    pen.strokeRect(at[0] * side + 1.5, at[1] * side + 1.5, side - 3, side - 3);
  }
}

function keep() {
  const count = hidden.reduce((sum, on) => sum + on, 0);
  element.querySelector('output').textContent = `${count} of ${size * size} pixels are hidden.`;
  props.value = hidden.join('');
}

function stroke(x, y, on) {
  const width = Number(brush.value), first = Math.floor((width - 1) / 2);
  for (let j = y - first; j < y - first + width; j++)
    for (let i = x - first; i < x - first + width; i++)
      if (i >= 0 && i < size && j >= 0 && j < size) hidden[j * size + i] = on;
}

function cell(event) {
  const box = canvas.getBoundingClientRect();
  const on = (v, from, length) => Math.floor((v - from) / length * size);
  return [on(event.clientX, box.left, box.width), on(event.clientY, box.top, box.height)];
}

function line(from, to) {
  const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  for (let k = 0; k <= steps; k++) {
    const [x, y] = [0, 1].map(d => Math.round(from[d] + (to[d] - from[d]) * k / steps));
    stroke(x, y, erase.checked ? 0 : 1);
  }
  paint();
}

canvas.addEventListener('pointerdown', event => {
  canvas.setPointerCapture(event.pointerId);
  before = at = cell(event);
  line(at, at);
});
canvas.addEventListener('pointermove', event => {
  if (!before) return;
  at = cell(event);
  line(before, at);
  before = at;
});
for (const name of ['pointerup', 'pointercancel'])
  canvas.addEventListener(name, () => { if (before) keep(); before = null; });

canvas.addEventListener('keydown', event => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (move) at = at.map((v, d) => Math.min(size - 1, Math.max(0, v + move[d])));
  else if (event.key === ' ' || event.key === 'Enter') stroke(...at, hidden[at[1] * size + at[0]] ? 0 : 1);
  else return;
  event.preventDefault();
  paint();
  if (!move) keep();
});
canvas.addEventListener('focus', paint);
canvas.addEventListener('blur', paint);

element.addEventListener('click', event => {
  const kind = event.target.dataset.mask;
  if (!kind) return;
  const first = size >> 2, inside = v => v >= first && v < first + (size >> 1);
  const covers = {
    none: () => false,
    top: (x, y) => y < size >> 1,
    centre: (x, y) => inside(x) && inside(y),
  }[kind];
  hidden = hidden.map((_, i) => Number(covers(i % size, Math.floor(i / size))));
  paint();
  keep();
});

picture.addEventListener('load', paint);
watch('picture', () => { picture.src = props.picture; });
picture.src = props.picture;
paint();
keep();
