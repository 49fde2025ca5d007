//! Several titles in one world: who watches which, what each cost, and who goes on serving what he has watched.

#[expect(dead_code, reason = "only built-in scenarios need all of it")]
mod common;

use common::play;
use shoal_node::link::TitleId;
use shoal_sim::report::Report;
use shoal_sim::scenario::Scenario;
use shoal_sim::stage::{Role, Stage, StageOptions};
use shoal_sim::{Options, Source, policy};

/// Twelve viewers of three films of 30 s, on uplinks of twice their rate.
const WORLD: &str = r#"
name = "catalogue"
finish = "play"
peers = 12
viewers = 12
limit_s = 240.0

[film]
rate_bit_per_s = 1_000_000
duration_s = 30.0
piece_bytes = 65_536
head_bytes = 16_384

[catalogue]
titles = 3
exponent = 1.0

[server]
count = 1
up_bytes_per_s = 1_000_000

[upload]
factor = 2.0

[lookup]
find = "directory"

[arrival]
pattern = "uniform"
over_s = 20.0

[play]
rest = "nothing"
"#;

fn options(set: &[&str]) -> Options {
    Options {
        scenario: Source::Text(WORLD.to_owned()),
        set: set.iter().map(|&item| item.to_owned()).collect(),
        strict: true,
        ..Options::named("", 1..=2)
    }
}

fn value(report: &Report, seed: usize, name: &str) -> f64 {
    let values = &report.seeds[seed].values;
    values.iter().find(|value| value.0 == name).and_then(|value| value.1).expect("a figure")
}

#[test]
fn each_title_is_watched_and_paid_for_by_itself() {
    for find in ["directory", "given"] {
        let report = play(&options(&[&format!("lookup.find={find}")]));
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        for (seed, row) in report.seeds.iter().enumerate() {
            let film = report.film_bytes;
            assert_eq!(row.titles.len(), 3);
            assert_eq!(row.titles.iter().map(|title| title.peers).sum::<u32>(), 12);
            let copies: f64 = row.titles.iter().map(|title| title.server_bytes / film).sum();
            assert!((copies - value(&report, seed, "server_copies")).abs() < 0.05, "{copies}");
            for title in &row.titles {
                let (peers, copies) = (f64::from(title.peers), title.server_bytes / film);
                // What nobody watches is not sent; what somebody watches is, and not to everybody.
                assert!(copies <= peers && (copies > 0.9) == (title.peers > 0), "{title:?}");
                assert!((title.wanted_bytes / film - peers).abs() <= 0.05 * peers, "{title:?}");
            }
            let started = row.peers.iter().all(|peer| peer.values[0].1.is_some_and(f64::is_finite));
            assert!(started && value(&report, seed, "offload") > 0.3);
        }
        let summary = report.summary();
        let titles = summary["titles"].as_array().expect("titles");
        assert_eq!(titles.len(), 3);
        assert!(titles[0]["offload"].as_f64() > titles[2]["offload"].as_f64(), "{titles:?}");
    }
}

#[test]
fn who_turns_to_another_title_starts_again_and_serves_what_it_has_watched() {
    let set = ["catalogue.changes=1", "catalogue.change_after_s=15", "catalogue.exponent=0"];
    let scenario = Scenario::parse(WORLD, &set.map(str::to_owned)).expect("a scenario");
    let policy = policy::find("shoal").expect("it ships");
    let options =
        StageOptions { seed: 3, policy, rtt: None, strict: true, words: false, plant: None };
    let mut stage = Stage::new(&scenario, &options).expect("a stage");
    stage.run(Some(30_000_000_000), &mut |_| true);
    // What those who have turned away sent of their first title until now.
    let sent = |stage: &Stage| -> Vec<(u32, TitleId, u64)> {
        let hosts = (0u32..).zip(&stage.marks);
        let turned =
            hosts.filter(|(_, marks)| marks.role == Role::Viewer && marks.titles.len() == 2);
        turned
            .map(|(host, marks)| {
                let title = marks.titles[0];
                let out = &stage.world.seat(host).film_out;
                (host, title, out.get(title.0 as usize).copied().unwrap_or(0))
            })
            .collect()
    };
    let before = sent(&stage);
    assert!(!before.is_empty(), "nobody has turned to another title");
    stage.run(None, &mut |_| true);
    let after = sent(&stage);
    let more =
        before.iter().filter(|then| after.iter().any(|now| now.0 == then.0 && now.2 > then.2));
    assert!(more.count() > 0, "{before:?} {after:?}");
    assert_eq!(stage.world.checks.violations(), []);
    for marks in stage.marks.iter().filter(|marks| marks.role == Role::Viewer) {
        assert!(marks.ended_ns.is_some() && marks.titles.len() == 2, "{marks:?}");
        assert_ne!(marks.titles[0], marks.titles[1]);
        let starts = &marks.later_startups_ms;
        assert!(starts.len() == 1 && starts[0].is_some_and(|ms| ms < 5000), "{starts:?}");
        let played = marks.played_ms(Some(marks.titles[1]), stage.world.now());
        assert!((29_000.0..31_000.0).contains(&played), "{played}");
    }
}

#[test]
fn policies_that_know_no_windows_fetch_whole_titles() {
    let mut options = options(&[]);
    options.policy = Some("bittorrent-in-order".to_owned());
    let report = play(&options);
    assert_eq!(report.broken().count(), 0);
    for peer in report.seeds.iter().flat_map(|row| &row.peers) {
        assert!(peer.values[0].1.is_some_and(f64::is_finite), "{peer:?}");
    }
}

#[test]
fn a_page_shows_titles_and_a_sweep_as_curves_and_policies_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    for factor in ["1.0", "1.5", "2.0"] {
        for policy in ["shoal", "client-server"] {
            let factor = format!("upload.factor={factor}");
            let mut options = options(&[&factor]);
            options.policy = Some(policy.to_owned());
            options.strict = false;
            // As two sweeps would leave it.
            let own = folder.path().join(policy).join(factor);
            play(&options).write(&own).expect("written");
        }
    }
    let runs = shoal_sim::page::read_runs(folder.path()).expect("results");
    let (page, _) = shoal_sim::page::write(folder.path(), &runs).expect("written");
    let html = std::fs::read_to_string(page).expect("a page");
    for part in ["Offload by setting", "<h3>Titles: ", "<h2>Ablations</h2>", "to 12."] {
        assert!(html.contains(part), "{part}");
    }
    let sections = shoal_sim::page::sections(&runs);
    let chart = sections[0].figures.iter().find(|figure| figure.chart.id.contains("sweep-offload"));
    let lines = &chart.expect("a chart").chart.lines;
    assert_eq!(lines.len(), 2);
    let across: Vec<f64> = lines[0].points.iter().map(|point| point.0).collect();
    assert_eq!(across, [1.0, 1.5, 2.0]);
    // Under client-server nothing is taken off the server.
    assert!(lines.iter().any(|line| line.points.iter().all(|point| point.1.abs() < 5.0)));
    let ablations = shoal_sim::page::ablations(&runs);
    assert_eq!(ablations.len(), 1);
    let cell = &ablations[0].1["catalogue, upload.factor=2.0"];
    assert!(cell.loses.iter().any(|loss| loss.0 == "server"), "{cell:?}");
}
