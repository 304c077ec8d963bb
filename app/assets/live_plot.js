// plotly.min.js is loaded once a page, however many plots there are. What is drawn is the last value that arrived.
const host = element.querySelector('.liveplot');
const library = window.plotlyReady ??= new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = host.dataset.library;
  script.onload = () => resolve(window.Plotly);
  script.onerror = () => reject(new Error('plotly.min.js did not load'));
  document.head.appendChild(script);
});
// A figure comes as text. Plotly knows no CSS variables: var(--name) becomes the colour that the name has at `place`.
function painted(text, place) {
  const style = getComputedStyle(place);
  return JSON.parse(text.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
}
// Leaves out the labels that would lie on the one before them.
function spread(axis, width) {
  if (!axis?.ticktext || axis.ticktext.some(text => text.includes('<br>'))) return axis;  // those are made to fit
  const scale = (width - 70) / (axis.range[1] - axis.range[0]);
  let free = -Infinity;
  const kept = axis.tickvals.map((value, i) => {
    const half = axis.ticktext[i].length * 3.6 + 4;
    const fits = value * scale - half >= free;
    if (fits) free = value * scale + half;
    return fits;
  });
  const pick = list => list.filter((_, i) => kept[i]);
  return {...axis, tickvals: pick(axis.tickvals), ticktext: pick(axis.ticktext)};
}
// Of the marks at the place that was clicked: the last drawn that reaches up to the pointer, else the highest.
function clicked(event) {
  const axis = host._fullLayout.yaxis;
  const height = axis.p2d(event.event.clientY - host.getBoundingClientRect().top - axis._offset);
  const points = event.points.filter(point => point.customdata);
  return points.findLast(point => point.y >= height) ?? points.sort((a, b) => b.y - a.y)[0];
}
let drawn = false;
const legendHeight = () => host._fullLayout?.legend?._height;
async function draw() {
  const text = props.value;
  if (drawn) host.hidden = !text;  // what was drawn before is not what is asked for
  if (!text) return;
  const Plotly = await library;
  if (text !== props.value || !host.isConnected || !host.offsetWidth) return;
  const {data, layout, narrow, height, zooms, label} = painted(text, host);
  const isNarrow = narrow && host.offsetWidth < (narrow.below ?? 560);
  if (isNarrow) Object.assign(layout, narrow);
  if (height) host.style.height = `${(isNarrow && narrow.height) || height}px`;
  if (label) host.setAttribute('aria-label', label);
  layout.font.family = layout.hoverlabel.font.family = getComputedStyle(host).fontFamily;
  Object.assign(layout, {width: host.offsetWidth, height: host.offsetHeight});
  layout.xaxis = spread(layout.xaxis, host.offsetWidth);
  if (!matchMedia('(pointer: fine)').matches) layout.dragmode = false;  // a finger that drags scrolls the page
  const before = legendHeight();
  await Plotly.react(host, data, layout, {displayModeBar: false, responsive: false, doubleClick: zooms ? false : 'reset'});
  if (drawn && legendHeight() !== before) return draw();  // Plotly has placed the legend by the height that it had before
  if (!drawn) {
    drawn = true;
    host.on('plotly_click', event => {
      const point = clicked(event);
      if (point) trigger('mark_click', {mark: point.customdata});
    });
    // What was dragged is for the server to answer, as it is more than this plot that shows it.
    host.on('plotly_relayout', change => {
      const ends = axis => [change[`${axis}.range[0]`] ?? null, change[`${axis}.range[1]`] ?? null];
      const [x, y] = [ends('xaxis'), ends('yaxis')];
      if (JSON.parse(props.value).zooms && (x[0] ?? y[0]) !== null) trigger('zoom', {x, y});
    });
    host.on('plotly_doubleclick', () => JSON.parse(props.value).zooms && trigger('zoom', {}));
  }
  host.dataset.revision = String(Number(host.dataset.revision || 0) + 1);
}
// Says what the pointer on the mark with that customdata would; nothing where the plot has no such mark.
async function point(mark) {
  if (!drawn || !host.offsetWidth) return;
  const Plotly = await library;
  const marks = host.data.flatMap((trace, curveNumber) => {
    const pointNumber = trace.customdata?.indexOf(mark) ?? -1;
    return pointNumber < 0 ? [] : [{curveNumber, pointNumber}];
  });
  if (marks.length) Plotly.Fx.hover(host, marks);
  else Plotly.Fx.unhover(host);
}
document.addEventListener('point-mark', event => point(event.detail));
// The figure as a picture on white, in the light theme's colours, with its title.
async function save(format) {
  const {data, layout, title, file, height, saved} = painted(props.value, document.documentElement);
  const size = {width: 1100, height: height ? height + 60 : 600};
  Object.assign(layout, size, {
    paper_bgcolor: '#ffffff', plot_bgcolor: '#ffffff',
    title: {text: title, x: 0.02, y: 0.97, yanchor: 'top', font: {size: 17, color: '#1e293b'}},
    font: {...layout.font, size: 14, family: 'Helvetica, Arial, sans-serif'},
    margin: {...layout.margin, l: Math.max(78, layout.margin.l), t: 46 + layout.margin.t, b: 30 + layout.margin.b},
    ...saved,
    xaxis: spread(layout.xaxis, size.width),
  });
  const Plotly = await library;
  await Plotly.downloadImage({data, layout}, {format, filename: file, scale: format === 'png' ? 2 : 1, ...size});
}
element.addEventListener('click', event => {
  const format = event.target.closest('[data-format]')?.dataset.format;
  if (format) save(format);
});
watch('value', draw);
// Also draws what arrived while the plot's tab was hidden, and follows the window and the sidebar.
new ResizeObserver(draw).observe(host);
draw();
