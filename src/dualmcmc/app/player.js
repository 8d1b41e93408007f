// The slider shows the frame of its step in every stack; a shorter chain waits at its end. Play moves the slider.
const bar = element.querySelector('.dm-player');
const slider = bar.querySelector('input');
const play = bar.querySelector('.dm-play');
let timer = null;

const stacks = () => [...element.querySelectorAll('.dm-frames')].map(stack => [...stack.children]);

function show(step) {
  for (const frames of stacks()) {
    const at = Math.min(step, frames.length - 1);
    frames.forEach((frame, k) => { frame.hidden = k !== at; });
  }
  slider.value = step;
  bar.querySelector('output').textContent = step;
}

function pause() {
  clearInterval(timer);
  timer = null;
  play.textContent = 'Play';
}

function begin() {
  const last = Math.max(0, ...stacks().map(frames => frames.length - 1));
  pause();
  slider.max = last;
  bar.hidden = last === 0;
  show(last);  // where most has changed
}

slider.addEventListener('input', () => { pause(); show(Number(slider.value)); });
play.addEventListener('click', () => {
  if (timer) return pause();
  if (Number(slider.value) === Number(slider.max)) show(0);
  play.textContent = 'Pause';
  timer = setInterval(() => {
    const next = Number(slider.value) + 1;
    if (next > Number(slider.max)) return pause();
    show(next);
  }, 120);
});
watch('value', begin);
