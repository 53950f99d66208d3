"""The look of a report: one style sheet, light and dark, for a desk and for a phone."""

CSS = """
:root{--page:#fcfcfb;--ink:#16181d;--soft:#5b616e;--grid:#e4e6ea;--card:#fff;--warn:#9a5b00;
--c0:#2a6fdb;--c1:#d9541e;--c2:#1a8a6a;--c3:#8a4fc9;--c4:#b58900;--c5:#c2327a;--c6:#3b8fa6;--c7:#6b7
280} @media
(prefers-color-scheme:dark){:root{--page:#14161a;--ink:#e9ebef;--soft:#a0a6b3;--grid:#2b2f37;
--card:#1b1e24;--warn:#e0a955;--c0:#6aa2ff;--c1:#ff8f61;--c2:#4fc3a1;--c3:#bb8df0;--c4:#e0bb4a;
--c5:#f07ab0;--c6:#74c0d4;--c7:#9aa1ad}} *{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe
UI",Roboto,sans-serif} main{max-width:1080px;margin:0 auto;padding:24px 16px
48px;display:grid;gap:20px; grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr))}
header,.tiles,section:not(.figure),details,main>.sub{grid-column:1/-1;min-width:0}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:0 0 2px}
.sub{color:var(--soft);font-size:13px;margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px} .tiles
div{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:12px} .tiles
b{display:block;font-size:24px;font-weight:600;font-variant-numeric:tabular-nums} .tiles
span{color:var(--soft);font-size:13px} main>.sub{margin-top:-12px}
.checks{list-style:none;margin:0;padding:0} .checks .met::before{content:"met:
";color:var(--c2);font-weight:600} .checks .missed::before{content:"missed:
";color:var(--warn);font-weight:600} .remarks{margin:0;padding-left:18px}.warning{color:var(--warn)}
.figure{background:var(--card);border:1px solid var(--grid);border-radius:8px;
padding:14px;min-width:0} svg{width:100%;height:auto;display:block;margin-top:8px}
.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.tick,.title{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.dot{stroke:var(--card);stroke-width:1}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}
.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}
.good{--c:var(--c2)}.bad{--c:var(--c1)}.line.dashed{stroke-dasharray:6 4}
.key.dashed{background:repeating-linear-gradient(90deg,var(--c) 0 4px,transparent 4px 7px)}
.line{stroke:var(--c)}.dot,.bar{fill:var(--c)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;margin:8px 0 0;padding:0;
font-size:13px;color:var(--soft)} .key{display:inline-block;width:10px;height:10px;border-radius:2px
;background:var(--c);margin-right:6px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap;
font-variant-numeric:tabular-nums} th,td{padding:5px 10px;text-align:right;border-bottom:1px solid
var(--grid)} th{color:var(--soft);font-weight:500}
th:nth-child(-n+3),td:nth-child(-n+3){text-align:left} .first{font-size:15px}.first th,.first
td{text-align:right}.first td:first-child{text-align:left}
details{font-size:13px;color:var(--soft)}code{overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px}dd{margin:0} @media
(max-width:480px){.tick,.title{font-size:17px}.tiles b{font-size:20px}}
"""
