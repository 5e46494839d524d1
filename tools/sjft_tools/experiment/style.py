"""How a report looks: on a phone, on a desktop, in the dark and in print."""

#: The style sheet. What is in a box `wide` may be wider than the screen: it scrolls inside the box.
STYLE = """
:root {
  color-scheme: light dark; --page: #ffffff; --text: #1c2127; --dim: #5d6570; --line: #d8dde3;
  --box: #f4f6f8; --accent: #17599c; --bar: #17599c2b; --warn: #7a4d00; --warn-box: #fff4d9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --text: #e2e6ea; --dim: #9aa4af; --line: #333a42; --box: #1e2329;
    --accent: #7db7f5; --bar: #7db7f540; --warn: #f0c674; --warn-box: #33290f;
  }
}
* { box-sizing: border-box; }
body {
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  margin: 0 auto; max-width: 72rem; padding: 1rem 1rem 4rem; overflow-wrap: break-word;
  background: var(--page); color: var(--text);
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 0; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; margin: .75rem 0; }
.lead { color: var(--dim); margin-top: .25rem; }
.warning { color: var(--warn); background: var(--warn-box); padding: .6rem .8rem;
  border-radius: 6px; }
a { color: var(--accent); }
nav { margin: 1.5rem 0; } nav a { display: inline-block; padding: .2rem 1rem .2rem 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.facts div { background: var(--box); border-radius: 8px; padding: .7rem .9rem; }
.facts dt { color: var(--dim); font-size: .85rem; }
.facts dd { margin: 0; } .facts dd.main { font-size: 1.35rem; font-weight: 600; line-height: 1.3; }
.facts dd.more { color: var(--dim); font-size: .85rem; line-height: 1.4; }
.wide { overflow-x: auto; max-width: 100%; }
.wide:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0; }
.caption, figcaption { color: var(--dim); font-size: .9rem; line-height: 1.4; max-width: 46rem; }
.caption { margin: 1.5rem 0 .25rem; } figcaption { margin-top: .4rem; }
th, td { padding: .3rem .75rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; line-height: 1.25; }
th.words, td.words { text-align: left; }
td.long { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page);
  padding-left: 0; }
td.bar { background: linear-gradient(to left, var(--bar) var(--share), transparent var(--share)); }
tr.best td { font-weight: 600; }
figure { margin: 1.25rem 0; }
figure .wide > img { display: block; max-width: none; height: auto; background: #fff;
  border-radius: 6px; }
.example { border: 1px solid var(--line); border-radius: 8px; padding: .75rem; margin: .75rem 0;
  display: grid; grid-template-columns: 17rem 1fr; gap: .75rem 1rem; break-inside: avoid; }
.example img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: var(--box); border-radius: 4px; }
.subject { display: grid; grid-template-columns: 6rem 1fr; gap: .75rem; align-items: start; }
.subject p { margin: 0; font-size: .85rem; line-height: 1.35; }
.subject p.title { font-weight: 600; font-size: .95rem; }
.likes { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: .4rem; margin: 0;
  padding: 0; list-style: none; }
.likes li { font-size: .72rem; line-height: 1.25; color: var(--dim); min-width: 0; hyphens: auto; }
pre { overflow-x: auto; font: .82rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace;
  padding: .75rem; background: var(--box); border-radius: 6px; }
@media screen and (max-width: 50rem) {
  .example { grid-template-columns: 1fr; }
  .likes { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  th, td { padding: .3rem .5rem; } td.name { white-space: normal; min-width: 7.5rem; }
  .facts { grid-template-columns: 1fr; gap: .5rem; }
}
@media print {
  :root { --page: #fff; --text: #000; --dim: #444; --box: #f4f4f4; --accent: #000; }
  body { font-size: 10pt; max-width: none; padding: 0; } nav { display: none; }
  .wide { overflow: visible; } .facts { grid-template-columns: repeat(3, 1fr); }
  figure .wide > img { width: auto !important; max-width: 100%; min-width: 0 !important;
    max-height: 22cm; }
  .example { grid-template-columns: 12rem 1fr; padding: .4rem; margin: .4rem 0; }
  .subject { grid-template-columns: 4rem 1fr; } .subject p, .likes li { font-size: 7pt; }
  table { font-size: 8pt; } td, th { white-space: normal; padding: .15rem .4rem; }
  pre { white-space: pre-wrap; font-size: 7pt; } figure, tr { break-inside: avoid; }
  h2, h3, .caption { break-after: avoid; }
}
"""
