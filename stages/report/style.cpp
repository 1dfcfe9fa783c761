#include "stages/report/style.h"

namespace couplet {

std::string_view report_style() {
  return R"(
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --panel: #f6f8fa; --best: #dff0e2;
  --c0: #b35900; --c1: #0a58ca; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #6e5c00; --c6: #0b7285; --c7: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --ink: #e6edf3; --soft: #9aa5b1; --rule: #363d46; --panel: #161b22; --best: #163a22;
    --c0: #f0a050; --c1: #6cb0ff; --c2: #56d364; --c3: #c297ff; --c4: #ff8ac6; --c5: #d9c04a; --c6: #4fd0e0; --c7: #9aa5b1; } }
@media print {
  :root { color-scheme: light; --page: #fff; --ink: #000; --soft: #333; --rule: #999; --panel: #fff; --best: #eee;
    --c0: #b35900; --c1: #0a58ca; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #6e5c00; --c6: #0b7285; --c7: #444; }
  figure, table, .card { break-inside: avoid; }
  .scroll { overflow: visible; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--c1); }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
nav { margin: .6rem 0; font-size: .95rem; }
nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; padding: .15rem 0; }
.headline { font-size: 1.12rem; border-left: 4px solid var(--c1); background: var(--panel); padding: .7rem 1rem; margin: 1rem 0; max-width: none; }
.headline p { max-width: none; margin: .3rem 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; align-items: start; }
figure { margin: .6rem 0; }
figcaption { margin-top: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
td.best { background: var(--best); font-weight: 600; }
td small { display: block; color: var(--soft); font-weight: 400; }
tbody th { font-weight: 600; }
.facts td, .facts th { white-space: normal; overflow-wrap: anywhere; }
.facts th { min-width: 8rem; }
.rows th[scope=row] { position: sticky; left: 0; background: var(--page); white-space: normal; min-width: 7rem; }
.samples td { white-space: normal; min-width: 9rem; max-width: 20rem; padding: .35rem; text-align: left; vertical-align: top; }
.samples img, .extra img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px; }
.extra { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)); gap: 1rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; padding: .35rem 0; color: var(--c1); }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 4px; padding: .7rem .9rem; overflow-x: auto; font-size: .86rem; line-height: 1.45; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--c1); outline-offset: 2px; }
.plot { display: block; width: 100%; max-width: 40rem; height: auto; font: 12px system-ui, "DejaVu Sans", sans-serif; }
.plot text { fill: var(--ink); }
.plot .axes text { fill: var(--soft); }
.plot .axes path { stroke: var(--rule); stroke-width: 1; fill: none; }
.plot .line { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
.plot .thin .line { stroke-width: 1.4; }
.plot .bar { fill: none; stroke: currentColor; stroke-width: 1.4; }
.plot .dashed > .line { stroke-dasharray: 7 4; }
.plot .line.level { stroke-width: 1.6; stroke-dasharray: 2 4; }
.plot .mark { fill: currentColor; }
.c0 { color: var(--c0); }
.c1 { color: var(--c1); }
.c2 { color: var(--c2); }
.c3 { color: var(--c3); }
.c4 { color: var(--c4); }
.c5 { color: var(--c5); }
.c6 { color: var(--c6); }
.c7 { color: var(--c7); }
)";
}

}  // namespace couplet
