#include "stages/report/html/style.h"

namespace couplet {

std::string_view report_style() {
  return R"(
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --panel: #f6f8fa; --best: #dff0e2;
  --c0: #b35900; --c1: #0a58ca; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #6e5c00; --c6: #0b7285; --c7: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --ink: #e6edf3; --soft: #9aa5b1; --rule: #2f363f; --panel: #161b22; --best: #163a22;
    --c0: #f0a050; --c1: #6cb0ff; --c2: #56d364; --c3: #c297ff; --c4: #ff8ac6; --c5: #d9c04a; --c6: #4fd0e0; --c7: #9aa5b1; } }
@media print {
  :root { color-scheme: light; --page: #fff; --ink: #000; --soft: #333; --rule: #999; --panel: #fff; --best: #e4e4e4;
    --c0: #b35900; --c1: #0a58ca; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #6e5c00; --c6: #0b7285; --c7: #444; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3.2rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 76rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .8rem; }
header p { margin: 0; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .7rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--c1); }
.soft, figcaption, caption { color: var(--soft); font-size: .88rem; line-height: 1.45; }
nav { position: sticky; top: 0; z-index: 2; display: flex; overflow-x: auto; margin: 1rem -1rem 0; padding: .45rem 1rem; background: var(--page);
  border-bottom: 1px solid var(--rule); font-size: .95rem; }
nav a { margin-right: 1.1rem; padding: .15rem 0; white-space: nowrap; text-decoration: none; }
nav a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(3, 1fr); gap: .7rem; margin: .9rem 0; }
.tile { padding: .65rem .9rem .75rem; border: 1px solid var(--rule); border-radius: 10px; background: var(--panel); font-size: .92rem; line-height: 1.45; min-width: 0; }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; overflow-wrap: anywhere; }
.tile strong { display: block; font-size: 1.5rem; line-height: 1.3; font-weight: 650; }
.wide { grid-column: 1 / -1; }
.wide pre { margin: .25rem 0; padding: .4rem .6rem; background: var(--page); }
.dot { display: inline-block; width: .62em; height: .62em; border-radius: 50%; background: currentColor; margin-right: .4em; }
.strips { display: grid; grid-template-columns: 1fr 1fr; gap: .9rem; }
.strips figure { margin: .2rem 0; }
.strips figcaption { color: var(--ink); }
.verdict > p { max-width: none; color: var(--soft); font-size: .92rem; }
img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 6px; background: #fff; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .6rem 2rem; align-items: start; }
.columns > * { min-width: 0; }
figure { margin: .6rem 0; min-width: 0; }
figcaption { margin-top: .3rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2rem)); }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 600; }
td.best { background: var(--best); font-weight: 650; }
td small, th small { display: block; color: var(--soft); font-weight: 400; }
.group th { padding-top: 1rem; white-space: normal; }
.group th > div { position: sticky; left: .6rem; display: inline-block; max-width: min(70rem, calc(100vw - 3.5rem)); }
.group th small { display: inline; margin-left: .7rem; }
.facts { width: 100%; }
.facts td, .facts th { white-space: normal; overflow-wrap: anywhere; }
.facts th { min-width: 8rem; width: 32%; }
.rows th[scope=row], .records th[scope=row] { position: sticky; left: 0; background: var(--page); white-space: normal; min-width: 9.5rem; }
.samples { width: 100%; max-width: 60rem; table-layout: fixed; }
.samples th:first-child { width: 2.6rem; padding-left: 0; }
.samples td { white-space: normal; padding: .5rem .35rem; text-align: left; vertical-align: top; min-width: 9rem; }
.samples figure { margin: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 1rem; }
.trajectories { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .6rem 2rem; }
.trajectories figure { max-width: 36rem; }
.rows-picture { max-width: 60rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; padding: .35rem 0; color: var(--c1); }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; font-size: .86rem; line-height: 1.45; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible, pre:focus-visible { outline: 2px solid var(--c1); outline-offset: 2px; }
.plot { display: block; width: 100%; max-width: 42rem; height: auto; font: 12px system-ui, "DejaVu Sans", sans-serif; }
.plot text { fill: var(--ink); }
.plot .axes text { fill: var(--soft); }
.plot .axes path { stroke: var(--rule); stroke-width: 1; fill: none; }
.plot .line { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
.plot .bar { fill: none; stroke: currentColor; stroke-width: 1.4; }
.plot .spread { fill: none; stroke: currentColor; stroke-width: 9; stroke-opacity: .3; }
.plot .band { fill: currentColor; fill-opacity: .16; }
.plot .dashed > .line { stroke-dasharray: 7 4; }
.plot .line.level { stroke-width: 1.6; stroke-dasharray: 2 4; }
.plot .mark { fill: currentColor; stroke: currentColor; stroke-width: 1; }
.plot .hollow { fill: var(--page); stroke-width: 1.6; }
.c0 { color: var(--c0); }
.c1 { color: var(--c1); }
.c2 { color: var(--c2); }
.c3 { color: var(--c3); }
.c4 { color: var(--c4); }
.c5 { color: var(--c5); }
.c6 { color: var(--c6); }
.c7 { color: var(--c7); }
@media (max-width: 40rem) {
  body { padding-top: .7rem; }
  .tiles { grid-template-columns: 1fr; gap: .45rem; margin: .6rem 0; }
  .tile { padding: .45rem .7rem .5rem; font-size: .88rem; }
  .tile strong { font-size: 1.15rem; }
  .strips { gap: .5rem; }
  .rows th[scope=row] { min-width: 6.5rem; }
  .records th[scope=row] { min-width: 5rem; }
  .samples img, .strips img { image-rendering: auto; }
  .samples figcaption { font-size: .78rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  figure, .tile, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll, pre { overflow: visible; }
  td, th { white-space: normal; padding: .25rem .35rem; overflow-wrap: anywhere; }
  .rows th[scope=row] { position: static; min-width: 0; }
  .samples { max-width: 16cm; }
  a { color: inherit; } }
)";
}

}  // namespace couplet
