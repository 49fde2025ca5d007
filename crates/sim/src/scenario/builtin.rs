//! The scenarios that come with the program.

/// Name and text of each.
pub const BUILTIN: &[(&str, &str)] = &[
    ("a-burst", include_str!("../../scenarios/a-burst.toml")),
    ("a-burst-capped", include_str!("../../scenarios/a-burst-capped.toml")),
    ("a-poisson", include_str!("../../scenarios/a-poisson.toml")),
    ("a-poisson-capped", include_str!("../../scenarios/a-poisson-capped.toml")),
    ("b", include_str!("../../scenarios/b.toml")),
    ("cache", include_str!("../../scenarios/cache.toml")),
    ("d-1000", include_str!("../../scenarios/d-1000.toml")),
    ("d-10000", include_str!("../../scenarios/d-10000.toml")),
    ("d-100000", include_str!("../../scenarios/d-100000.toml")),
    ("e-calibration", include_str!("../../scenarios/e-calibration.toml")),
    ("e-equal", include_str!("../../scenarios/e-equal.toml")),
    ("e-mixed", include_str!("../../scenarios/e-mixed.toml")),
    ("e-us-u", include_str!("../../scenarios/e-us-u.toml")),
    ("foreign", include_str!("../../scenarios/foreign.toml")),
    ("foreign-seeds", include_str!("../../scenarios/foreign-seeds.toml")),
    ("faults", include_str!("../../scenarios/faults.toml")),
    ("j", include_str!("../../scenarios/j.toml")),
    ("j-halves", include_str!("../../scenarios/j-halves.toml")),
    ("slots", include_str!("../../scenarios/slots.toml")),
    ("spine-film", include_str!("../../scenarios/spine-film.toml")),
    ("slow-holder", include_str!("../../scenarios/slow-holder.toml")),
    ("swarm-fresh", include_str!("../../scenarios/swarm-fresh.toml")),
    ("swarm-small", include_str!("../../scenarios/swarm-small.toml")),
];

/// The text of a scenario by name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
}
