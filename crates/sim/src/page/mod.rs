//! `sim report`: one page of charts and tables for people, from what runs left behind.
//!
//! Runs of one scenario share a section and its charts; they are told apart by what differs between them (policy, settings,
//! then the folder). The page holds everything it needs: no scripts, no fonts, no addresses. Each chart is also written as
//! a file of its own.
//!
//! **Start** at [`write()`].

mod ablations;
mod charts;
mod load;
mod sweep;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub use ablations::{Ablations, Cell, ablations, words};
pub use charts::{Figure, Named, figures};
use load::text_of;
pub use load::{RUNS_MAX, Run, read_runs};

use crate::plot::escape;
use crate::policy::POLICIES;
use crate::report;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;margin:2rem auto;max-width:1260px;padding:0 1.2rem;\
color:#1b1f24;background:#fff}\
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem;border-top:1px solid #d8dee4;padding-top:1.2rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr));gap:1.4rem}\
figure{margin:0}figure svg{width:100%;height:auto;border:1px solid #d8dee4;border-radius:6px}\
figcaption{font-size:13px;color:#57606a;margin-top:.3rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}\
th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #d8dee4}th:first-child{text-align:left}\
th{font-weight:600}tbody th{font-weight:400}\
.words td{text-align:left;min-width:14rem}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#16191d}figcaption{color:#9aa4ae}\
h2,th,td,figure svg{border-color:#30363d}}";

/// Settings that say nothing about what was run.
const SILENT: [&str; 3] = ["name", "about", "policy"];
/// Settings named in a run's name at most; beyond them the folder says more.
const SETTINGS_NAMED: usize = 3;

/// Writes `report.html` into `folder`, and each chart into `plots/` below it. Returns the page and the number of charts.
///
/// # Errors
/// A sentence: there are no results, some are broken, or the page cannot be written.
pub fn write(folder: &Path, runs: &[Run]) -> Result<(PathBuf, usize), String> {
    let put = |path: &Path, text: &str| {
        std::fs::write(path, text)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    };
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots)
        .map_err(|error| format!("{} cannot be made: {error}", plots.display()))?;
    let sections = sections(runs);
    let mut count = 0;
    for section in &sections {
        for figure in &section.figures {
            put(&plots.join(format!("{}.svg", figure.chart.id)), &figure.chart.svg())?;
            count += 1;
        }
    }
    let page = folder.join("report.html");
    put(&page, &html(&sections, runs))?;
    Ok((page, count))
}

/// The runs of one scenario.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// The scenario.
    pub scenario: &'a str,
    /// Its runs by name.
    pub runs: Vec<Named<'a>>,
    /// Their charts.
    pub figures: Vec<Figure>,
}

/// Runs by scenario, in the order of their names; within one by policy, then by name.
#[must_use]
pub fn sections(runs: &[Run]) -> Vec<Section<'_>> {
    let mut groups: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        groups.entry(&run.scenario).or_default().push(run);
    }
    groups
        .into_iter()
        .map(|(scenario, runs)| {
            let runs = named(&runs);
            let figures = figures(scenario, &runs);
            Section { scenario, runs, figures }
        })
        .collect()
}

/// Names runs of one scenario by what differs between them.
fn named<'a>(runs: &[&'a Run]) -> Vec<Named<'a>> {
    let differ = |of: &dyn Fn(&Run) -> Option<String>| {
        runs.iter().any(|run| runs.first().is_some_and(|first| of(run) != of(first)))
    };
    let keys = runs.iter().flat_map(|run| run.settings.keys());
    let mut keys: Vec<&String> = keys.filter(|key| !SILENT.contains(&key.as_str())).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| differ(&|run| run.settings.get(*key).cloned()));
    let policies = differ(&|run| Some(run.policy.clone()));
    let name = |run: &Run| {
        let mut parts = Vec::new();
        if policies || keys.is_empty() {
            parts.push(run.policy.clone());
        }
        if keys.len() <= SETTINGS_NAMED {
            let value = |key: &String| run.settings.get(key).map_or("-", String::as_str);
            parts.extend(keys.iter().map(|key| format!("{key}={}", value(key))));
        }
        parts.join(", ")
    };
    let names: Vec<String> = runs.iter().map(|run| name(run)).collect();
    let mut named: Vec<Named<'a>> = runs
        .iter()
        .zip(&names)
        .map(|(run, name)| {
            let alone = names.iter().filter(|other| *other == name).count() == 1;
            let name = match (alone, name.is_empty()) {
                (true, false) => name.clone(),
                (_, true) => run.folder.clone(),
                (false, false) => format!("{name}, {}", run.folder),
            };
            Named { name, run }
        })
        .collect();
    named.sort_by_cached_key(|named| rank(&named.run.policy, &named.name));
    named
}

/// Policies in the order of their list; names so that peers=5 stands before peers=30.
fn rank(policy: &str, name: &str) -> (usize, String) {
    let place = POLICIES.iter().position(|known| known.name == policy);
    let mut padded = String::new();
    for part in name.split_inclusive(|letter: char| !letter.is_ascii_digit()) {
        let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let _ = write!(padded, "{digits:0>12}{}", &part[digits.len()..]);
    }
    (place.unwrap_or(usize::MAX), padded)
}

/// The page.
fn html(sections: &[Section<'_>], runs: &[Run]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Simulated runs</title><style>{STYLE}</style></head><body>\n<h1>Simulated runs</h1>\n\
         <p>Every figure comes from virtual time and is the same again for the same seeds. Lines pool all peers of all \
         seeds. Dashed grey marks are what PRIME published for one server and 70 peers at 40 KB/s on PlanetLab; under \
         other scenarios they are for orientation only.</p>\n"
    );
    for section in sections {
        let about = section.runs.first().and_then(|named| named.run.settings.get("about"));
        let _ = writeln!(
            out,
            "<h2>{}</h2>\n<p>{}</p>",
            escape(section.scenario),
            escape(about.map_or("", String::as_str))
        );
        out.push_str("<div class=\"charts\">\n");
        for figure in &section.figures {
            let caption = escape(&figure.caption);
            let svg = figure.chart.svg();
            let _ = writeln!(out, "<figure>{svg}<figcaption>{caption}</figcaption></figure>");
        }
        out.push_str("</div>\n");
        table(&mut out, section);
        titles(&mut out, section);
    }
    ablations::section(&mut out, runs);
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, section: &Section<'_>) {
    let summaries: Vec<_> = section.runs.iter().map(|named| named.run.summary.clone()).collect();
    out.push_str("<h3>Figures</h3>\n<div class=\"wide\"><table><thead><tr><th></th>");
    for named in &section.runs {
        let _ = write!(out, "<th>{}</th>", escape(&named.name));
    }
    out.push_str("</tr></thead><tbody>\n");
    let count = |key: &str| -> Vec<String> {
        let lengths = summaries.iter().map(|summary| summary[key].as_array().map_or(0, Vec::len));
        lengths.map(|length| length.to_string()).collect()
    };
    let mut lines = vec![("seeds", count("seeds"))];
    lines.extend(report::lines(&summaries));
    let broken = count("broken");
    if broken.iter().any(|number| number != "0") {
        lines.push(("seeds that broke a rule", broken));
    }
    for (label, cells) in lines {
        let _ = write!(out, "<tr><th>{}</th>", escape(label));
        for cell in cells {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// Peers, server copies and offload of each title, where a run had several.
fn titles(out: &mut String, section: &Section<'_>) {
    for named in &section.runs {
        let rows = named.run.summary["titles"].as_array().map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "<h3>Titles: {}</h3>\n<div class=\"wide\"><table><thead><tr><th>title</th><th>peers</th>\
             <th>server copies</th><th>offload</th></tr></thead><tbody>\n",
            escape(&named.name)
        );
        for row in rows {
            let _ = write!(out, "<tr><th>{}</th>", row["title"].as_u64().unwrap_or(0));
            for key in ["peers", "server_copies", "offload"] {
                let _ =
                    write!(out, "<td>{}</td>", row[key].as_f64().map_or_else(String::new, text_of));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
    }
}
